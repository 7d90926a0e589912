"""The one place where settings become working parts: database, exchange, clock, policy.

The CLI and Dagster's resource both open the pipeline here, and tests open it
with parts of their own. Nothing connects before it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version

from hl_pipeline.collect.fill import FillPolicy
from hl_pipeline.collect.forecast import BackfillForecast, Budget, Ceiling, forecast_backfill
from hl_pipeline.collect.markets import MarketsReport, refresh_markets
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.clock import Clock, SystemClock
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.halt import Halt
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.settle import SettleTime, settle_time
from hl_pipeline.model.span import Span
from hl_pipeline.model.tariff import request_weight
from hl_pipeline.notify.error_reports import ErrorReports
from hl_pipeline.settings import Settings
from hl_pipeline.source.endpoint import info_url
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage import markets
from hl_pipeline.storage import settle as settle_evidence
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import attach
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.markets import Cadence
from hl_pipeline.storage.migrations import check_schema, claim_venue

#: Share of the exchange's weight we plan with; the rest is for what we cannot see (design section 6).
BUDGET_SHARE = 0.97
#: Percent of that for reading funding on.
FUNDING_PERCENT = 1

#: A market's read at the live edge, and its part of what rides on it: re-reads, reconciliations, late rows. Over a day
#: of five-minute periods 23.8 was measured (docs/benchmarks.md); reckoned as the bare 21 the lane would exceed its
#: share.
_MARKET_WEIGHT = request_weight("candleSnapshot", 60) + 3

#: A quote or metric may miss two collections, and a minute for the run itself, before it counts as old.
_MISSED_COLLECTIONS = 3
_RUN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything a collection needs, opened together.

    ``settle`` says why the policy's settle time is what it is.
    """

    settings: Settings
    database: Database
    source: HyperliquidRest
    clock: Clock
    budget: PostgresBudget
    policy: FillPolicy
    settle: SettleTime = SettleTime(10_000, 10_000)  # noqa: RUF009  # it is immutable

    def forecast(
        self, connection: Connection, *, coins: Collection[str], intervals: Collection[Interval], window: Span
    ) -> BackfillForecast:
        """What a back-fill of these series over ``window`` would ask now; asks nothing itself."""
        return forecast_backfill(
            connection,
            self.clock.now_ms(),
            self.policy.proof,
            Budget(
                budget_weight(self.settings),
                live_weight(self.settings, markets.cadence(connection, self.clock.now_ms())),
            ),
            coins=coins,
            intervals=intervals,
            window=window,
        )

    def refresh_markets(self, run_id: str | None = None) -> MarketsReport:
        """Learn from the exchange which markets there are, and track those that the settings want."""
        return refresh_markets(
            self.source,
            self.database,
            self.clock,
            coins=self.settings.markets,
            intervals=self.settings.intervals,
            universe=self.settings.universe,
            run_id=run_id,
        )

    @property
    def backfill_policy(self) -> FillPolicy:
        """How to fill what is not the live edge: on the back-fill lane's weight."""
        return replace(self.policy, lane=Lane.BACKFILL)

    @property
    def endpoints(self) -> PostgresEndpoints:
        """The endpoints' breakers, as all processes share them."""
        return endpoint_registry(self.database, self.clock)

    @property
    def funding_weight(self) -> int:
        """Weight an hour that reading funding on may take."""
        return budget_weight(self.settings) * 60 * FUNDING_PERCENT // 100

    @property
    def backfill_ceiling(self) -> Ceiling:
        """The most that one back-fill may need."""
        return Ceiling(self.settings.backfill_max_weight, self.settings.backfill_max_minutes)

    @property
    def period_ms(self) -> int:
        """Milliseconds between two reads of a series at the live edge, with the markets tracked at this moment."""
        with self.database.connection() as connection:
            return collect_period_ms(self.settings, markets.cadence(connection, self.clock.now_ms()))

    @property
    def quote_patience_s(self) -> float:
        """How old the newest quote of a listed market may be, seconds, before it counts as late."""
        return _MISSED_COLLECTIONS * self.period_ms / 1000 + _RUN_SECONDS


def collect_period_ms(settings: Settings, cadence: Cadence) -> int:
    """Milliseconds between two reads of a series at the live edge, in whole minutes (design: Cadence).

    In one period every market's finest series, and all quotes at once, are read
    on the live lane's share of the weight, so that the other lanes keep their
    floors; the more markets, the longer. Never less than the setting says.
    """
    needed_ms = -(-MINUTE_MS * _tick_weight(cadence) * 100 // (budget_weight(settings) * cadence.live_percent))
    return -(-max(1000 * settings.period_seconds, needed_ms) // MINUTE_MS) * MINUTE_MS


def live_weight(settings: Settings, cadence: Cadence) -> int:
    """Weight a minute that collecting the live edge takes."""
    return MINUTE_MS * _tick_weight(cadence) // collect_period_ms(settings, cadence)


def _tick_weight(cadence: Cadence) -> int:
    return cadence.markets * _MARKET_WEIGHT + request_weight("metaAndAssetCtxs")


def settle_in_force(settings: Settings, connection: Connection, now_ms: int) -> SettleTime:
    """How long after its close a candle may still change: what is set, else the profile's, as the exchange behaves.

    Judged by the candles that closed in the half hour before ``now_ms``; a tick judges anew.
    """
    least_ms = int(1000 * settings.settle_seconds)
    if settings.is_set("settle_seconds"):
        return SettleTime(least_ms, least_ms, is_fixed=True)
    most_ms = int(1000 * settings.manner.settle_most_seconds)
    return settle_time(least_ms, most_ms, settle_evidence.changes(connection, now_ms))


def endpoint_registry(database: Database, clock: Clock) -> PostgresEndpoints:
    """The endpoints' breakers; they keep the server's time, unless ``clock`` is a simulated one."""
    return PostgresEndpoints(database, clock=None if isinstance(clock, SystemClock) else clock)


def budget_weight(settings: Settings) -> int:
    """Weight a minute that all our processes together may spend."""
    return int(settings.weight_per_minute * BUDGET_SHARE)


def open_error_reports(settings: Settings) -> ErrorReports | None:
    """Where failures are reported, the same for all of this process; null when HL_SENTRY_DSN names nothing."""
    if settings.sentry_dsn is None:
        return None
    return _error_reports(settings.sentry_dsn.get_secret_value(), settings.venue)


@cache
def _error_reports(dsn: str, venue: str) -> ErrorReports:
    return ErrorReports(dsn, release=f"hl_pipeline@{version('hl-pipeline')}", environment=venue)


def migration_url(settings: Settings, database: Database) -> str:
    """The libpq URL with which the schema of ``database`` is changed; holds a password."""
    return database.libpq_url if settings.migrate_url is None else settings.migrate_url.get_secret_value()


def open_database(settings: Settings, *, application_name: str = "hl_pipeline") -> Database:
    """The configured database, or the embedded server that is already running.

    Raises:
        DatabaseUnavailable: no server is configured, and none is running in the home folder.
    """
    if settings.database_url is not None:
        dagster = settings.dagster_database_url
        return Database(
            settings.database_url.get_secret_value(),
            dagster_url=dagster.get_secret_value() if dagster is not None else None,
            application_name=application_name,
        )
    server = attach(settings.venue_home)
    if server is None:
        raise DatabaseUnavailable(
            f"no Postgres is running in {settings.venue_home}: start one with `hl db start` or `hl up`, "
            "or name a server in HL_DATABASE_URL"
        )
    return server.database(application_name=application_name)


@contextmanager
def open_pipeline(
    settings: Settings,
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    only_looks: bool = False,
    patience: Patience | None = None,
    halt: Halt | None = None,
) -> Iterator[Pipeline]:
    """The pipeline on its database and exchange, closed at the end.

    Who ``only_looks`` leaves the weight budget at the size that the collecting
    processes gave it. ``patience`` is the exchange client's, its own by default. ``halt`` stops the client and
    every fill with the pipeline's policy.

    Raises:
        DatabaseUnavailable: no database is running or reachable.
        SchemaMismatch: the database is older or newer than this code.
        InvalidSetting: the database holds another venue's data.
    """
    owned = database is None
    halt = halt or Halt()
    database = database or open_database(settings)
    clock = clock or SystemClock(settings.clock_offset_ms)
    try:
        with database.connection() as connection:
            check_schema(connection)
            claim_venue(connection, settings.venue)
            settle = settle_in_force(settings, connection, clock.now_ms())
        budget = PostgresBudget(database, key=f"{settings.venue}-info", max_weight=budget_weight(settings))
        budget.ensure(resize=not only_looks)
        endpoints = endpoint_registry(database, clock)
        if not only_looks:
            endpoints.ensure([info_url(endpoint) for endpoint in settings.endpoints])
        with HyperliquidRest(
            settings.endpoints,
            budget=budget,
            registry=endpoints,
            public_only=settings.venue != "sandbox",
            deadline_s=settings.request_deadline_seconds,
            max_body_bytes=settings.max_body_bytes,
            patience=patience,
            halt=halt,
        ) as source:
            yield Pipeline(
                settings=settings,
                database=database,
                source=source,
                clock=clock,
                budget=budget,
                policy=FillPolicy(
                    proof=ProofPolicy(settle_ms=settle.ms),
                    concurrency=settings.concurrency,
                    halt=halt,
                ),
                settle=settle,
            )
    finally:
        if owned:
            database.close()
