"""Dagster's web interface behind the guard, as a process: ``python -m hl_pipeline.serve.web --workspace FILE``.

It does what ``dagster-webserver`` does, with our layer in between, and ends a few seconds after SIGTERM however many
pages are open. The one file in this room that knows Dagster; what it takes from Dagster's inside is pinned by a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import uvicorn
from dagster import DagsterInstance
from dagster import __version__ as dagster_version
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.types import ASGIApp

from hl_pipeline.examine import examine
from hl_pipeline.model.status_page import REPORT_FILE
from hl_pipeline.notify.logs import log_to_stderr
from hl_pipeline.serve.guard import Guard, Rules, hosts_of
from hl_pipeline.serve.health import Readiness
from hl_pipeline.serve.report import WithReport
from hl_pipeline.settings import Settings

#: As ``dagster-webserver`` sets them: a page's slow query ends, and a pool keeps no connection for ever.
_STATEMENT_MS, _RECYCLE_SECONDS, _OVERFLOW = 15_000, 3_600, 20
#: Open pages hold a WebSocket each; nobody waits for them longer.
_FAREWELL_SECONDS = 3
_MOST_FRAME_BYTES = 1024 * 1024
#: A health report takes no longer; nobody waits for this process to start.
_REPORT_SECONDS = 2.5


def rules_of(settings: Settings, *, viewer: bool) -> tuple[Rules, int]:
    """The guard's rules for the interface, or for the viewers' one; and its port.

    Raises:
        ValueError: viewers have no port.
    """
    port = settings.viewer_port if viewer else settings.ui_port
    if port is None:
        raise ValueError("HL_VIEWER_PORT is not set: set it, or start without --viewer")
    secret = (settings.viewer_password if viewer else None) or settings.ui_password
    return Rules(
        hosts=hosts_of(settings.ui_host, port, settings.ui_names),
        password=None if secret is None else secret.get_secret_value(),
        read_only=viewer,
    ), port


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Listen until SIGTERM or SIGINT; leaves by SystemExit, so that what the caller opened is closed."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)  # uvicorn puts its own in place, and these back and to work when it has ended
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        log_config=None,  # ours is in force
        proxy_headers=False,  # nobody is believed about whom he speaks for
        server_header=False,
        timeout_graceful_shutdown=_FAREWELL_SECONDS,
        ws_max_size=_MOST_FRAME_BYTES,
    )


@click.command()
@click.option("--workspace", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--viewer", is_flag=True, help="The read-only interface, on HL_VIEWER_PORT.")
def main(workspace: Path, viewer: bool) -> None:
    """Serve the interface of the instance that DAGSTER_HOME names; HL_* says where and to whom."""
    settings = Settings.load()
    log_to_stderr(logging.WARNING, as_json=settings.log_format == "json")
    rules, port = rules_of(settings, viewer=viewer)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_MS, _RECYCLE_SECONDS, _OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
            version=dagster_version,
            read_only=viewer,
        ) as context:
            interface = create_app_from_workspace_process_context(context, lifespan=_lifespan)
            pages = WithReport(interface, settings.venue_home / REPORT_FILE)
            readiness = Readiness(lambda: examine(settings, deadline_s=_REPORT_SECONDS))
            serve(Guard(pages, rules, readiness), settings.ui_host, port)


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


@contextlib.asynccontextmanager
async def _lifespan(_app: object) -> AsyncIterator[None]:
    with contextlib.suppress(asyncio.CancelledError):  # how uvicorn ends it when pages were still open
        yield


if __name__ == "__main__":
    main()
