"""What all troubles share: Postgres on a small disk, a filled database to copy from, Dagster's instance."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
import psycopg
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from benchmarks.troubles.stage import Stage
from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.defs.launch import prepare_instance, set_automation
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.sandbox.catalogue import MarketSpec, markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.truth import Truth
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.settings import Settings
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate

COINS = ("BTC", "ETH", "SOL")
SEED = 11
HISTORY_DAYS = 6
#: 2026-07-27T12:00:20Z, twenty seconds after a minute began: the last closed candle has settled.
OPENS_MS = 1_785_153_620_000
#: So long the base is lived before it is copied; every trouble begins then.
BASE_LASTS_MS = 40 * MINUTE_MS
BEGINS_MS = OPENS_MS + BASE_LASTS_MS
#: What the disk holds. The server's own files take a fifth.
_DISK = "1g"
#: As the client has it, but for pauses: nobody learns anything from waiting for them.
_PATIENCE = Patience(attempts=3, total_s=20.0, first_pause_s=0.02, longest_pause_s=0.1, rate_limited_pause_s=0.05)
_MORE_THAN_ENOUGH = 100_000


def settings_of(home: Path, exchange_url: str, database: Database, coins: Sequence[str] = COINS) -> Settings:
    """The settings that the processes of a trouble share; notices go to a file in ``home``."""
    return Settings(
        venue="sandbox",
        endpoint=exchange_url,
        home=home,
        database_url=SecretStr(database.libpq_url),
        dagster_database_url=SecretStr(_plain(database.dagster_url)),
        markets=tuple(coins),
        universe=Universe.LIST,
        weight_per_minute=_MORE_THAN_ENOUGH,
        stream=False,
        alert_urls=(SecretStr(f"info=file://{home}/alerts.jsonl"),),
    )


class Ground:
    """One server, one port for the exchange, one Dagster instance; a database and a sandbox a trouble."""

    def __init__(self, home: Path, server: EmbeddedPostgres, *, has_own_disk: bool) -> None:
        self.home, self.server, self.has_own_disk = home, server, has_own_disk
        self.port = free_port()
        self._url = server.start().dsn("postgres")
        self._truth: Truth | None = None
        self._numbers = itertools.count(1)
        self._instance: dg.DagsterInstance | None = None
        self._environ: dict[str, str | None] = {}
        self._daemon: subprocess.Popen[bytes] | None = None
        self.base = self._make("base")
        self.dagster = self._make("dagster")
        self._hurry()
        self._administer("alter system set max_wal_size = '128MB'")
        self._administer("alter system set fsync = off")  # what survives a power cut is tested elsewhere
        self._administer("select pg_reload_conf()")
        migrate(self.base)

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's own instance, in Postgres, everything turned on."""
        if self._instance is None:
            storage = Database(self.dagster, dagster_url=self.dagster).dagster_url
            given = prepare_instance(self.home / "dagster", storage)
            self._environ = {name: os.environ.get(name) for name in given}
            os.environ.update(given)
            self._instance = dg.DagsterInstance.get()
            self.reconnect()
            set_automation(True, instance=self._instance)
        return self._instance

    def fill(self) -> None:
        """The base: all that the exchange still has, and a while of ordinary life.

        Raises:
            AssertionError: it is not calm; then no trouble could be told from what was there before.
        """
        with self._stage(self.base, OPENS_MS, self._cast(None)) as stage:
            for job in ("refresh_markets", "collect", "refresh_funding", "refresh_funding"):
                assert stage.run(job).success, stage.said
            for minutes in (5, 5, 10, 10, 9, 1):
                stage.beat(minutes * MINUTE_MS)
            for job in ("drain_gaps", "refresh_funding", "contracts"):
                assert stage.run(job).success, stage.said
            failing = {name: check.description for name, check in stage.checks.items() if not check.passed}
            assert not failing, f"the base is not calm: {failing}"
            assert not stage.open_alerts(), f"the base is not calm: {stage.open_alerts()}"

    @contextmanager
    def lent(self, cast: Sequence[MarketSpec] | None = None) -> Iterator[Stage]:
        """A stage of one trouble's own, at ``BEGINS_MS``; ``cast`` are its markets, those of the base by default."""
        name = str(next(self._numbers))
        try:
            with self._stage(self._make(name, self.base), BEGINS_MS, cast) as stage:
                yield stage
        finally:
            with suppress(psycopg.Error):
                self._administer("drop database if exists {} with (force)", f"troubles_{name}")

    def reconnect(self) -> None:
        """Dagster's connections are kept from now on: it opens one a statement, half the cost of a run."""
        self.instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3_600, max_overflow=20)

    def daemon_begins(self) -> None:
        """Dagster's daemon, without code to run: everything is started by hand here, but its life is looked at."""
        log = (self.home / "daemon.log").open("ab")
        command = [sys.executable, "-m", "dagster._daemon", "run", "--empty-workspace"]
        self._daemon = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def daemon_ends(self) -> None:
        """It is killed."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def close(self) -> None:
        """Give Dagster's instance back, and what was in the environment."""
        self.daemon_ends()
        if self._instance is not None:
            self._instance.dispose()
        for name, value in self._environ.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

    @contextmanager
    def _stage(self, url: str, now_ms: int, cast: Sequence[MarketSpec] | None) -> Iterator[Stage]:
        clock, home = ManualClock(now_ms), Path(tempfile.mkdtemp(prefix="stage-", dir=self.home))
        database = Database(url, dagster_url=self.dagster, application_name="troubles", lock_timeout_ms=5_000)
        with ExitStack() as stack:
            exchange = stack.enter_context(self.exchange(clock, cast))
            coins = [market.coin for market in cast or self._cast(None)]
            settings = settings_of(home, exchange.url, database, coins)
            stack.callback(database.close)
            pipeline = stack.enter_context(self.opened(settings, database, clock))
            stage = Stage(self, pipeline, clock, exchange, self.instance)
            stack.callback(stage.close)
            yield stage

    @staticmethod
    def opened(settings: Settings, database: Database, clock: ManualClock) -> AbstractContextManager[Pipeline]:
        """The pipeline as these settings say, with little patience."""
        return open_pipeline(settings, database=database, clock=clock, patience=_PATIENCE)

    def exchange(
        self, clock: ManualClock, cast: Sequence[MarketSpec] | None = None, *, port: int | None = None
    ) -> RunningSandbox:
        """A sandbox on the ground's port, or another."""
        return RunningSandbox(
            self.world(clock, cast),
            limiter=LimiterMode.OFF,
            manners=Manners(QuietMode.DENSE),
            port=self.port if port is None else port,
        )

    def world(self, clock: ManualClock, cast: Sequence[MarketSpec] | None = None) -> World:
        """All worlds have the same truth, unless they have markets of their own."""
        world = World(SEED, markets=self._cast(cast), clock=clock, history_days=HISTORY_DAYS)
        if cast is None:
            # candles are drawn once, not once a trouble
            self._truth = world.truth = self._truth or world.truth
        return world

    @staticmethod
    def _cast(cast: Sequence[MarketSpec] | None) -> Sequence[MarketSpec]:
        return markets_named(*COINS) if cast is None else cast

    def _make(self, name: str, template: str | None = None) -> str:
        full = f"troubles_{name}"
        if template is None:
            self._administer("create database {}", full)
        else:
            self._administer("create database {} template {}", full, make_url(template).database or "")
        return make_url(self._url).set(database=full).render_as_string(hide_password=False)

    def _hurry(self) -> None:
        """Dagster opens a connection a statement: half of a beat went into proving passwords."""
        password = make_url(self._url).password
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(b"set scram_iterations = 1")
            connection.execute(sql.SQL("alter role current_user password {}").format(sql.Literal(password)))

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def open_ground(*, own_disk: bool = True, daemon: bool = True) -> Iterator[Ground]:
    """The ground, filled; all of it is gone at the end.

    Without ``own_disk`` nothing is mounted, and no disk can be filled; without ``daemon`` Dagster's does not run.
    """
    home = Path(tempfile.mkdtemp(prefix="hl-troubles-"))
    has_own_disk = own_disk and _mount(home)
    try:
        server = EmbeddedPostgres(home / "server")
        try:
            ground = Ground(home, server, has_own_disk=has_own_disk)
            try:
                ground.fill()
                if daemon:
                    ground.daemon_begins()
                yield ground
            finally:
                ground.close()
        finally:
            server.stop()
    finally:
        if has_own_disk:
            subprocess.run(["umount", "--lazy", str(home)], check=False)
        shutil.rmtree(home, ignore_errors=True)


def _mount(home: Path) -> bool:
    """A disk in memory, so that it can be filled; only root may."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0755", "troubles", str(home)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
