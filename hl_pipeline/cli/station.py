"""The processes of one installation: Dagster's code server, web interface and daemon, and the stream; one supervisor.

Three processes and not ``dagster dev``: it takes two thirds of the memory, is ready in half the time, and a code
server that is killed comes back.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hl_pipeline.cli.supervisor import Program, Stop, Supervisor, free_port, listens, require_free
from hl_pipeline.settings import Settings

#: As ``defs.launch`` names our code location; importing it from there would import Dagster.
LOCATION = "hl_pipeline"
UI_PORT_HINT = "--port or HL_UI_PORT"
VIEWER_PORT_HINT = "--viewer-port or HL_VIEWER_PORT"


@dataclass(frozen=True, slots=True)
class Station:
    """Addresses of the running processes; viewers may have none."""

    supervisor: Supervisor
    ui_url: str
    viewer_url: str | None = None


def require_ui_port(settings: Settings) -> None:
    """Refuse a taken port before anything is started.

    Raises:
        NeedsAPerson: somebody listens on it.
    """
    require_free(settings.ui_port, "the web interface", UI_PORT_HINT, settings.ui_host)
    if settings.viewer_port is not None:
        require_free(settings.viewer_port, "the viewers' interface", VIEWER_PORT_HINT, settings.ui_host)


def open_station(
    settings: Settings,
    environ: Mapping[str, str],
    stop: Stop,
    say: Callable[[str], None],
    company: Sequence[Program] = (),
    *,
    on_lost_runs: Callable[[], None] = lambda: None,
) -> Station:
    """Start the processes and return once the web interface answers, or somebody wants us to stop.

    ``environ`` is added to this process's own environment; ``company`` starts first, the stream last where one is
    wanted. ``on_lost_runs`` is called when a code server fell, and with it the runs it had started. The caller shuts
    the supervisor down.

    Raises:
        NeedsAPerson: a process ended while starting; its last lines are in the message.
    """
    supervisor = Supervisor({**os.environ, **environ}, settings.venue_home / "log", say, stop)
    grpc_port = free_port()
    at = ("--workspace", str(_workspace(settings, grpc_port)))
    form = ("--log-format", "json") if settings.log_format == "json" else ()
    ui_url = _url(settings.ui_host, settings.ui_port)
    viewer_url = _url(settings.ui_host, settings.viewer_port) if settings.viewer_port else None
    programs = (
        *(replace(program, stops=2) for program in company),  # what is under way may still need it
        Program(
            "code server", (*_code_server(grpc_port), *form), lambda: listens(grpc_port), before_restart=on_lost_runs
        ),
        Program("daemon", (_script("dagster-daemon"), "run", *at, *form), stops=0),  # it would start more runs
        _interface("web interface", at, ui_url),
        *([_interface("viewer", (*at, "--viewer"), viewer_url)] if viewer_url else []),
        *([Program("stream", (sys.executable, "-m", "hl_pipeline.cli.main", "stream"))] if settings.stream else []),
    )
    try:
        for program in programs:
            if not stop.wanted:
                supervisor.start(program)
    except BaseException:
        supervisor.shut_down()
        raise
    return Station(supervisor, ui_url, viewer_url)


def _interface(name: str, arguments: Sequence[str], url: str) -> Program:
    """Dagster's web server inside our guard."""
    command = (sys.executable, "-m", "hl_pipeline.serve.web", *arguments)
    return Program(name, command, lambda: _answers(f"{url}/livez"))


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _code_server(port: int) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(port),
        "--module-name", "hl_pipeline.definitions", "--location-name", LOCATION,
    )  # fmt: skip


def _workspace(settings: Settings, port: int) -> Path:
    """A workspace that finds the code server under the name the schedules' states are kept for."""
    path = settings.dagster_home / "workspace.yaml"
    path.write_text(
        "# written by hl at each start\n"
        f"load_from:\n  - grpc_server:\n      host: 127.0.0.1\n      port: {port}\n      location_name: {LOCATION}\n",
        encoding="utf-8",
    )
    return path


def _script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
