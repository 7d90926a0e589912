"""Where processes are killed: a sandbox exchange, a Postgres with a database a round, an undisturbed one beside it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from hl_pipeline.cli.demo.switchboard import Switchboard
from hl_pipeline.model.interval import MINUTE_MS, to_datetime

COINS = ("BTC", "ETH", "SOL", "ARB", "OP", "DOGE")
INTERVALS = "1m,5m,1h,1d"
HISTORY_DAYS = 2
#: A candle counts as settled ten seconds after its close; a reading asks a little later.
_SETTLED_MS = 15_000
_PLENTY = "100000"


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until it holds.

    Raises:
        TimeoutError: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def hl(*arguments: str) -> list[str]:
    """``hl`` as a process of its own."""
    return [sys.executable, "-m", "hl_pipeline.cli.main", *arguments]


def processes_of(home: Path) -> dict[int, str]:
    """Live processes whose arguments or environment name this folder: pid and command line."""
    found = {}
    mark = str(home).encode()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if line:  # not a zombie
                    found[int(folder.name)] = line
    return found


class Stage:
    """What all rounds share. ``base`` is a migrated database; ``reference`` is filled and never disturbed."""

    def __init__(self, server_url: str, exchange_url: str, home: Path, migrate: Callable[[str], object]) -> None:
        self.exchange_url, self.switches, self.home = exchange_url, Switchboard(exchange_url), home
        self._server_url = server_url
        self._numbers = itertools.count(1)
        self._name = f"kills_{os.getpid()}"
        self.base, self.reference = self._make("base"), ""
        migrate(self.base)
        self.reference = self._make("reference", self.base)
        self._names: list[str] = []

    def close(self) -> None:
        """Drop the databases that are left."""
        for name in [*self._names, f"{self._name}_reference", f"{self._name}_base"]:
            self._administer("drop database if exists {} with (force)", name)

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """A copy of a database, dropped at the end; its URL."""
        name = str(next(self._numbers))
        try:
            yield self._make(name, template)
        finally:
            self._administer("drop database if exists {} with (force)", f"{self._name}_{name}")

    def empty(self) -> str:
        """A database without anything, for Dagster; it lives as long as the stage."""
        made = self._make("dagster")
        self._names.append(f"{self._name}_dagster")
        return made

    def environ(self, home: Path, database_url: str | None, **more: str) -> dict[str, str]:
        """``HL_*`` for our processes, and nothing of the caller's; without a database they keep their own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
        ours = {
            "HL_VENUE": "sandbox",
            "HL_ENDPOINT": self.exchange_url,
            "HL_HOME": str(home),
            "HL_UNIVERSE": "list",
            "HL_MARKETS": ",".join(COINS),
            "HL_INTERVALS": INTERVALS,
            "HL_WEIGHT_PER_MINUTE": _PLENTY,
            "HL_CONCURRENCY": "3",
        }
        return {**kept, **ours, **({"HL_DATABASE_URL": database_url} if database_url else {}), **more}

    def slow_down(self, milliseconds: int) -> None:
        """Every answer takes so long."""
        self.switches.add_faults({"kind": "latency", "amount": milliseconds})

    def settled_until_ms(self) -> int:
        """The end of the newest minute that is surely settled."""
        return (int(time.time() * 1000) - _SETTLED_MS) // MINUTE_MS * MINUTE_MS

    def calm(self, environ: Mapping[str, str], until_ms: int) -> str:
        """Collect all that closed by then; what the command said."""
        first = to_datetime(until_ms - (HISTORY_DAYS + 1) * 24 * 60 * MINUTE_MS)
        window = f"{first:%Y-%m-%dT%H:%M}..{to_datetime(until_ms):%Y-%m-%dT%H:%M}"
        # of a series that nobody answered for yet only a read of all there is tells where it begins
        run(hl("collect", "--json"), environ)
        done = run(hl("collect", "--window", window, "--json"), environ)
        return done.stdout + done.stderr

    def content(self, url: str, until_ms: int) -> list[tuple[str, int, str]]:
        """Rows and a number for candles and for coverage, of what closed by then."""
        with connected(url) as connection:
            rows = connection.execute(_query("kills_content"), {"until": to_datetime(until_ms)}).fetchall()
        return [(str(relation), int(str(count)), str(number)) for relation, count, number in rows]

    def difference(self, url: str, until_ms: int) -> str:
        """Where the ledger differs from the undisturbed one's."""
        found = []
        for each in (url, self.reference):
            with connected(each) as connection:
                found.append(set(connection.execute(_query("kills_coverage"), {"until": to_datetime(until_ms)})))
        here, there = found
        return f"only here {sorted(map(str, here - there))[:2]}, only there {sorted(map(str, there - here))[:2]}"

    def _make(self, name: str, template: str = "") -> str:
        made = f"{self._name}_{name}"
        if template:
            self._administer("create database {} template {}", made, str(make_url(template).database))
        else:
            self._administer("create database {}", made)
        return make_url(self._server_url).set(database=made).render_as_string(hide_password=False)

    def _administer(self, statement: str, *names: str) -> None:
        with connected(self._server_url) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A session of our own, each statement by itself."""
    return psycopg.connect(url, autocommit=True, connect_timeout=5, options="-c timezone=UTC -c lock_timeout=10s")


def left(url: str) -> dict[str, int]:
    """What ended processes left in a database, by kind."""
    with connected(url) as connection:
        cursor = connection.execute(_query("kills_left"))
        row = cursor.fetchone()
        names = [column.name for column in cursor.description or ()]
    assert row is not None
    return {name: int(str(value)) for name, value in zip(names, row, strict=True)}


def start(arguments: Sequence[str], environ: Mapping[str, str], output: Path) -> subprocess.Popen[bytes]:
    """A process in the background, its output in a file; SIGINT ignored, as a shell's ``&`` has it."""
    with output.open("ab") as out:
        return subprocess.Popen(
            list(arguments),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=_deaf_to_sigint,
        )


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A process to its end, at most two minutes."""
    return subprocess.run(list(arguments), env=dict(environ), capture_output=True, text=True, timeout=120, check=False)


def spoken(text: str) -> str:
    """The last words of an output, on one line."""
    with contextlib.suppress(json.JSONDecodeError):
        return json.dumps(json.loads(text))[:300]
    return " | ".join(text.strip().splitlines()[-3:])[-300:]


def _deaf_to_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _query(name: str) -> bytes:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()
