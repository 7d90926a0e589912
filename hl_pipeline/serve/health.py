"""The readiness probe: the health report, in bounded time, however often it is asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hl_pipeline.health.report import Report, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.redact import redact

#: For how long a report is good enough; strangers may ask as often as they like.
_KEPT_SECONDS = 2.0
#: A probe waits no longer than this, whatever the database does.
_PATIENCE_SECONDS = 4.0


class Readiness:
    """Answers the probe from ``looking``, one look at a time; as `guard.Health` wants it."""

    def __init__(self, looking: Callable[[], Report], *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._looking = looking
        self._patience_seconds = patience_seconds
        self._found: Future[Report] | None = None
        self._began = 0.0

    async def __call__(self) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """HTTP status (503 when unhealthy, or nobody can tell), what anybody may read, and what guests may."""
        try:
            waiting = asyncio.shield(asyncio.wrap_future(self._look()))
            found = await asyncio.wait_for(waiting, self._patience_seconds)
        except (TimeoutError, PipelineError) as error:
            reason = redact(str(error)) or f"there was no report within {self._patience_seconds:g} s"
            return 503, {"status": "unknown"}, {"status": "unknown", "reason": reason}
        is_well = found.status in {Status.HEALTHY, Status.DEGRADED}
        return 200 if is_well else 503, _for_anybody(found), to_json(found)

    def _look(self) -> Future[Report]:
        is_old = time.monotonic() - self._began > _KEPT_SECONDS
        if self._found is None or (self._found.done() and is_old):
            self._found, self._began = Future(), time.monotonic()
            # a daemon: a look that hangs must not keep the process from ending
            threading.Thread(target=_fulfil, args=(self._found, self._looking), daemon=True).start()
        return self._found


def _fulfil(promise: Future[Report], looking: Callable[[], Report]) -> None:
    try:
        promise.set_result(looking())
    except BaseException as error:  # noqa: BLE001 handed to whoever asked
        promise.set_exception(error)


def _for_anybody(found: Report) -> dict[str, Any]:
    """Names and verdicts alone: sentences may name hosts."""
    checks = [{"name": verdict.name, "status": str(verdict.status)} for verdict in found.verdicts]
    return {"status": str(found.status), "score": found.score, "checks": checks}
