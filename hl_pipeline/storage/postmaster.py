"""A Postgres server as processes: found, started, awaited, stopped.

A pid proves nothing, for pids are used again; a process counts as this folder's server only if it is alive, called
postgres, and its working directory is the data folder, as it is for every Postgres process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from hl_pipeline.model.failure import DatabaseUnavailable, NeedsAPerson
from hl_pipeline.storage import root_ways
from hl_pipeline.storage.postgres_home import Binaries, PostgresHome

#: Laptop-sized and durable: fsync and full_page_writes keep their defaults, on.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_connections": "100",  # storage/checkup.py adds up who holds how many
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_filename": "postgres-%a.log",  # one file a weekday, overwritten a week later
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_duration_statement": "-1",
    "log_checkpoints": "off",
}
_POLL_SECONDS = 0.02
#: How long a killed server's other processes get to notice; then as long again to die.
_ORPHAN_SECONDS = 5.0


def running(home: PostgresHome) -> int | None:
    """The pid of the server that runs on this folder, if one does."""
    lines = _pid_file(home)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
    return pid if pid and _works_in(pid, home.data) else None


def is_stopping(home: PostgresHome) -> bool:
    """Whether the server says that it is about to end."""
    return _status(_pid_file(home)) == "stopping"


def launch(home: PostgresHome, binaries: Binaries) -> subprocess.Popen[bytes]:
    """Starts a server and returns at once; `wait_until_ready` waits for it. The folder must be locked.

    Raises:
        NeedsAPerson: processes of a killed server do not end.
    """
    _clear_stale_pid_file(home)
    home.logs.mkdir(exist_ok=True, mode=0o700)
    if binaries.way.owner is not None:
        for folder in (home.data, home.logs):
            root_ways.hand_over(folder, binaries.way.owner)
    settings = {**CONFIGURATION, "log_directory": str(home.logs), "port": str(home.choose_port())}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (home.logs / "start.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 our own binary
            binaries.command("postgres", "-D", str(home.data), *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            start_new_session=True,  # Ctrl-C is for the owner, who then stops the server in order
        )


def wait_until_ready(home: PostgresHome, process: subprocess.Popen[bytes] | None, patience_seconds: float) -> int:
    """Waits until the server takes connections, crash recovery included; returns its port.

    ``process`` is the server's, if it is this process's child.

    Raises:
        NeedsAPerson: the server ended while starting.
        DatabaseUnavailable: not ready after ``patience_seconds``; it is left to go on. Or somebody ends it.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        lines = _pid_file(home)
        if _status(lines) == "ready":
            return int(lines[3])
        if process is not None and process.poll() is not None:
            raise NeedsAPerson(f"Postgres ended while starting, saying: {_last_words(home)} (see {home.logs})")
        if process is None and (running(home) is None or _status(lines) == "stopping"):
            raise DatabaseUnavailable(f"the Postgres in {home.root} ended while starting: try again (see {home.logs})")
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"the Postgres in {home.root} is not ready after {patience_seconds:g} s, most likely because it "
                f"recovers from a crash; it goes on: try again in a minute (see {home.logs})",
                retry_after=60,
            )
        time.sleep(_POLL_SECONDS)


def stop(home: PostgresHome, pid: int, process: subprocess.Popen[bytes] | None) -> None:
    """Fast shutdown; after 30 s the immediate one, which the next start recovers from.

    ``process`` is the server's, if it is this process's child.

    Raises:
        NeedsAPerson: the server does not end within 40 s.
    """
    for sign, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)):
        if _has_ended(home, pid, process):
            return
        with contextlib.suppress(ProcessLookupError):  # it may end at this very moment
            os.kill(pid, sign)
        if _ends_within(seconds, home, pid, process):
            return
    raise NeedsAPerson(f"the Postgres in {home.root} (process {pid}) does not stop: see {home.logs}")


def _ends_within(seconds: float, home: PostgresHome, pid: int, process: subprocess.Popen[bytes] | None) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _has_ended(home, pid, process):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _has_ended(home: PostgresHome, pid: int, process: subprocess.Popen[bytes] | None) -> bool:
    # a child must be asked, for until then it stays a zombie and keeps its pid
    return process.poll() is not None if process is not None else not _works_in(pid, home.data)


def _pid_file(home: PostgresHome) -> list[str]:
    """The lines of postmaster.pid: pid, folder, start, port, socket folder, address, memory, status."""
    try:
        return (home.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _status(lines: list[str]) -> str:
    return lines[7].strip() if len(lines) > 7 else ""


def _works_in(pid: int, data: Path) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False  # dead
    # the name too: somebody's shell may stand in the folder
    return name.startswith("postgres") and root_ways.stands_in(pid, data)


def _clear_stale_pid_file(home: PostgresHome) -> None:
    """Removes the pid file of a killed server once none of its processes is left.

    Postgres itself would refuse to start while the recorded pid is alive, be it a zombie or an unrelated process.
    Its other processes end by themselves when they see the server gone; a busy one does not look, and is killed.
    """
    for left in _left_after(_ORPHAN_SECONDS, home.data):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)
    if left_over := _left_after(_ORPHAN_SECONDS, home.data):
        raise NeedsAPerson(f"processes {left_over} of a killed server still use {home.data}: end them and try again")
    (home.data / "postmaster.pid").unlink(missing_ok=True)


def _left_after(seconds: float, data: Path) -> list[int]:
    """The Postgres processes that still use the data after at most so many seconds."""
    deadline = time.monotonic() + seconds
    while left := _processes_in(data):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return left


def _processes_in(data: Path) -> list[int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if _works_in(pid, data)]


def _last_words(home: PostgresHome) -> str:
    said = (home.logs / "start.log").read_text(encoding="utf-8", errors="replace").split("\n")
    telling = [line for line in said if "FATAL" in line or "PANIC" in line or "HINT" in line or "error" in line]
    return " ".join(telling or said)[-600:].strip()
