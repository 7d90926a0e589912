"""The readiness probe: the health report over one read-only connection, in bounded time, however often it is asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg

from hl_pipeline.health.report import Report, report, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.redact import redact
from hl_pipeline.runtime import collect_period_ms, open_database, settle_in_force
from hl_pipeline.settings import Settings
from hl_pipeline.storage import markets
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.health import gather
from hl_pipeline.storage.migrations import check_schema
from hl_pipeline.storage.sql import query

_CONNECT_SECONDS = 2
_STATEMENT_MS = 2_000
#: For how long a report is good enough; strangers may ask as often as they like.
_KEPT_SECONDS = 2.0
#: A probe waits no longer than this, whatever the database does.
_PATIENCE_SECONDS = 4.0


def look(settings: Settings) -> Report:
    """Measure and judge, changing nothing.

    Raises:
        PipelineError: the database does not answer, or is not of this version.
        psycopg.Error: a measurement took too long.
    """
    clock = SystemClock(settings.clock_offset_ms)
    with (
        open_database(settings) as configured,
        Database(
            configured.libpq_url,
            application_name="hl_pipeline health",
            max_connections=1,
            connect_timeout_seconds=_CONNECT_SECONDS,
            statement_timeout_ms=_STATEMENT_MS,
            lock_timeout_ms=_STATEMENT_MS,
        ) as database,
        database.connection() as connection,
    ):
        connection.execute(query("read_snapshot"))
        check_schema(connection)
        now_ms = clock.now_ms()
        settle_s = settle_in_force(settings, connection, now_ms).ms / 1000
        period_s = collect_period_ms(settings, markets.cadence(connection, now_ms)) / 1000
        return report(gather(connection, now_ms, period_s, settle_s, expects_stream=settings.stream))


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
        except (TimeoutError, PipelineError, psycopg.Error) as error:
            reason = redact(str(error)) or f"the database did not answer within {self._patience_seconds:g} s"
            return 503, {"status": "unknown"}, {"status": "unknown", "reason": reason}
        return 503 if found.status is Status.UNHEALTHY else 200, _for_anybody(found), to_json(found)

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
