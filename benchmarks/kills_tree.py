"""`hl up` as a tree of processes whose parts are found, killed, and seen to come back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kills_stage import connected, hl, processes_of, start, until
from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.settings import Settings
from hl_pipeline.storage import postmaster
from hl_pipeline.storage.embedded import EmbeddedPostgres, attach
from hl_pipeline.storage.postgres_home import PostgresHome

#: What a part's command line holds.
_PARTS = {
    "code server": ("dagster api grpc",),
    "daemon": ("dagster-daemon",),
    "web interface": ("dagster-webserver", "hl_pipeline.serve.web"),
    "stream": ("hl_pipeline.cli.main stream",),
    "step": ("multiprocessing.spawn",),
}
_START_SECONDS = 120.0
_BACK_SECONDS = 90.0


class Tree:
    """One installation in ``home``; ``environ`` is what `hl` sees there."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self.home, self.environ = home, dict(environ) | {"HL_UI_PORT": str(free_port())}
        self._root: subprocess.Popen[bytes] | None = None
        self._venue_home = Settings.load(self.environ).venue_home

    @property
    def returncode(self) -> int | None:
        """How `hl up` ended."""
        return None if self._root is None else self._root.returncode

    def start(self) -> str:
        """Start it and wait until all of it runs; says how long that took."""
        began = time.monotonic()
        output = self.home / f"up-{time.monotonic_ns()}"
        self._root = root = start(hl("up"), self.environ, output)
        until(
            lambda: "Ctrl-C stops everything" in output.read_text() or root.poll() is not None,
            _START_SECONDS,
            "hl up says that it runs",
        )
        if root.poll() is not None:
            raise RuntimeError(f"hl up ended with {root.returncode}: {output.read_text()[-2000:]}")
        return f"up in {time.monotonic() - began:.1f} s"

    def roles(self) -> list[str]:
        """The parts that run now, Postgres among them."""
        return [*sorted(role for role in _PARTS if self._pid(role)), "postgres"]

    def kill(self, role: str, number: signal.Signals) -> str:
        """End one part and wait until another runs in its place; says how long that took."""
        pid = self._pid(role)
        if pid is None:
            return "not running any more"
        began = time.monotonic()
        os.kill(pid, number)
        until(lambda: not _lives(pid), 45, f"the {role} ends")
        if role == "step":
            return f"gone in {time.monotonic() - began:.1f} s"
        until(lambda: self._pid(role) not in (None, pid), _BACK_SECONDS, f"the {role} is back")
        if role == "postgres":
            until(self._answers, _BACK_SECONDS, "Postgres answers")
        return f"back in {time.monotonic() - began:.1f} s"

    def end(self, number: signal.Signals) -> float:
        """Signal `hl up` itself and wait for its end; the seconds that took."""
        root = self._root
        assert root is not None
        began = time.monotonic()
        root.send_signal(number)
        root.wait(timeout=60)
        return time.monotonic() - began

    def url(self) -> str:
        """Its own database."""
        server = attach(self._venue_home)
        assert server is not None, "its Postgres does not run"
        return server.dsn("hl")

    @contextmanager
    def alone(self) -> Iterator[str]:
        """Its Postgres without anything else, while the block runs."""
        with EmbeddedPostgres(self._venue_home) as server:
            yield server.dsn("hl")

    def close(self) -> None:
        """After a failure: end what still runs."""
        if self._root is not None and self._root.poll() is None:
            self._root.kill()
            self._root.wait()

    def _pid(self, role: str) -> int | None:
        if role == "postgres":
            return postmaster.running(PostgresHome(self._venue_home))
        lines = processes_of(self.home).items()
        return min((pid for pid, line in lines if any(mark in line for mark in _PARTS[role])), default=None)

    def _answers(self) -> bool:
        server = attach(self._venue_home)
        if server is None:
            return False
        connected(server.dsn("hl")).close()
        return True


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
