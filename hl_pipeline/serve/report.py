"""The status report at ``/report``, beside Dagster's pages and behind the same guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hl_pipeline.derived.report_html import STALE_MARK

PATH = "/report"
#: The page is written each minute; one this old says so, for whoever wrote it may have died.
STALE_SECONDS = 600
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "refresh": "60",
}
_NONE_YET = (
    "<!DOCTYPE html><html lang='en'><title>hl_pipeline: no report yet</title><p>No report was written yet: the job "
    "<code>health</code> writes one each minute, <code>hl report</code> writes one now.</p></html>"
)


class WithReport:
    """The layer around ``app`` that answers for the page at ``path``; ``now`` gives seconds since 1970."""

    def __init__(self, app: ASGIApp, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._app = app
        self._path = path
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the page, or pass the request on."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] in {"GET", "HEAD"}:
            answer = await asyncio.to_thread(self._page)
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _page(self) -> Response:
        try:
            with self._path.open(encoding="utf-8") as file:
                text, written_s = file.read(), self._path.stat().st_mtime
        except FileNotFoundError:
            return HTMLResponse(_NONE_YET, 404, _HEADERS)
        return HTMLResponse(text.replace(STALE_MARK, self._warning(self._now() - written_s)), 200, _HEADERS)

    @staticmethod
    def _warning(age_s: float) -> str:
        if age_s < STALE_SECONDS:
            return ""
        return (
            f'<p class="stale" role="alert">This page is {age_s // 60:.0f} minutes old: nobody renews it. What it says '
            "may no longer hold. Does the daemon run, and is the schedule health_each_minute on?</p>"
        )
