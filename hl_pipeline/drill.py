"""The failover drill: two endpoints of a sandbox exchange, one fails and heals, and nothing may be lost over it.

It plays with the code that collects for real, on a market time of its own and in a database made for it, so that it
asks nothing of the exchange and writes nothing into the installation's tables. Only what is not ours is played: the
exchange, and the time between its troubles.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.probe import probe_endpoints
from hl_pipeline.model.clock import Clock, ManualClock
from hl_pipeline.model.endpoint import Breaker
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage import coverage, series
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.overview import final_candles

COINS = ("BTC", "ETH")
SEED = 7
#: Market time for which the first endpoint fails.
OUTAGE_MINUTES = 5
#: Who failed often of late is asked after the steady ones for ten minutes; then a few probes, and the load is back.
RETURN_MINUTES = 15
#: Past the minute, so that the candle that closed with it has settled.
_PAST_THE_MINUTE_MS = 20_000
#: Nobody has to wait for weight here: that is another drill.
_PLENTY = 1_000_000
_NEXT = (
    "Next: run `hl drill` once more; if it fails again, a second endpoint is of no use to this version: go back to the "
    "one before (docs/deployment.md)"
)


class Step(NamedTuple):
    """One step: what should come of it, what did. ``market_minutes`` passed on the drill's clock, ``seconds`` here."""

    name: str
    expected: str
    seen: str
    held: bool
    market_minutes: float
    seconds: float


@dataclass(slots=True)
class DrillReport:
    """The steps that were played, in order; after one that did not hold none is."""

    steps: list[Step] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether every step was played and held."""
        return len(self.steps) == len(STEPS) and all(step.held for step in self.steps)

    @property
    def sentence(self) -> str:
        """What came of it; names the step that did not hold."""
        if self.held:
            return f"failover works: {len(self.steps)} of {len(STEPS)} steps held; {self.steps[-1].seen}"
        last = self.steps[-1]
        return (
            f"failover drill, step {len(self.steps)} of {len(STEPS)}, {last.name}: expected {last.expected}; "
            f"seen: {last.seen}. {_NEXT}"
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A collector with two ways to one exchange, all under one clock that only the drill moves."""

    first: RunningSandbox
    second: RunningSandbox
    database: Database
    clock: ManualClock
    source: HyperliquidRest
    endpoints: PostgresEndpoints
    policy: FillPolicy = field(default_factory=lambda: FillPolicy(concurrency=1))  # who waits moves the one clock

    def minute(self) -> str | None:
        """One more minute of market time: look after the endpoints, collect; what went wrong, if anything."""
        self.clock.advance(MINUTE_MS)
        probe_endpoints(self.source, self.database, self.clock, self.endpoints)
        return self.collect()

    def collect(self) -> str | None:
        """Collect once; what went wrong, if anything."""
        report = fill(self.source, self.database, self.clock, self.policy)
        if report.failures:
            return f"{len(report.failures)} of {report.planned} requests failed: {report.failures[0]}"
        return None if report.landed else "nothing was asked for, though a minute was due"

    def answered(self) -> tuple[int, int]:
        """How many requests for candles each endpoint has answered."""
        first, second = (
            sum(entry.request == "candleSnapshot" and entry.status == 200 for entry in sandbox.log.entries())
            for sandbox in (self.first, self.second)
        )
        return first, second

    def breaker(self) -> Breaker:
        """How the first endpoint's breaker stands."""
        return self.endpoints.view().states[0].breaker

    def missing(self) -> int:
        """How many slots that are due are not final."""
        with self.database.connection() as connection:
            held = coverage.by_interval(connection, self.clock.now_ms(), self.policy.proof.settle_ms)
        return sum(row.due - row.final for row in held)


class Seen(NamedTuple):
    """What came of a step, and whether it is what should."""

    text: str
    held: bool


def _collects(stage: Stage) -> Seen:
    refresh_markets(stage.source, stage.database, stage.clock, coins=COINS, intervals=[Interval.M1])
    trouble = stage.collect()
    first, second = stage.answered()
    text = trouble or f"{first} requests answered by the first, {second} by the second; {_slots(stage.missing())}"
    return Seen(text, trouble is None and first > 0 and second == 0 and stage.missing() == 0)


def _fails(stage: Stage) -> Seen:
    stage.first.faults.add(Fault(FaultKind.BAD_GATEWAY))
    first, second = stage.answered()
    for minute in range(1, OUTAGE_MINUTES + 1):
        trouble = stage.minute()
        if trouble is not None or stage.missing():
            return Seen(f"minute {minute} of the outage: {trouble or _slots(stage.missing())}", held=False)
    through_first, through_second = (now - then for now, then in zip(stage.answered(), (first, second), strict=True))
    breaker = stage.breaker()
    text = (
        f"breaker {breaker}; {through_second} requests answered by the second, {through_first} by the first; "
        f"{_slots(stage.missing())}"
    )
    return Seen(text, breaker is not Breaker.CLOSED and through_second > 0 and through_first == 0)


def _heals(stage: Stage) -> Seen:
    stage.first.faults.clear()
    for minute in range(1, RETURN_MINUTES + 1):
        first, second = stage.answered()
        trouble = stage.minute()
        if trouble is not None or stage.missing():
            return Seen(f"minute {minute} after the healing: {trouble or _slots(stage.missing())}", held=False)
        is_back = stage.answered()[1] == second and stage.answered()[0] > first
        if is_back and stage.breaker() is Breaker.CLOSED:
            return Seen(f"breaker closed, all answered by the first again in minute {minute}", held=True)
    return Seen(f"breaker {stage.breaker()}; the second still answers after {RETURN_MINUTES} minutes", held=False)


def _lost_nothing(stage: Stage) -> Seen:
    held, wrong = 0, list[str]()
    with stage.database.connection() as connection:
        broken = series.violations(connection)
        for coin in COINS:
            stored = final_candles(connection, coin, Interval.M1)
            ends = stored[-1].open_ms + MINUTE_MS if stored else 0
            right = stage.first.truth.candles(coin, Interval.M1, stored[0].open_ms, ends) if stored else []
            held += len(stored)
            wrong += [f"{coin} at {one.open_ms}" for one, true in zip(stored, right, strict=False) if one != true]
            if len(stored) != len(right) or not stored:
                wrong.append(f"{coin} holds {len(stored)} candles of {len(right)}")
    text = f"{held:,} candles, {_slots(stage.missing())}, {len(broken)} contradictions in the ledger"
    text += f"; wrong: {', '.join(wrong[:3])} of {len(wrong)}" if wrong else ", all equal to the exchange's"
    return Seen(text, not wrong and not broken and stage.missing() == 0)


#: Each with its name, what is expected, and what plays it.
STEPS: Sequence[tuple[str, str, Callable[[Stage], Seen]]] = (
    (
        "collect through the first endpoint",
        "all candles that are due, every request answered by the first endpoint and none by the second",
        _collects,
    ),
    (
        "the first endpoint fails",
        f"its breaker to open, and the candles of {OUTAGE_MINUTES} minutes to land through the second, each in time",
        _fails,
    ),
    (
        "the first endpoint heals",
        f"its breaker to close, and all requests to be answered by it again within {RETURN_MINUTES} minutes",
        _heals,
    ),
    (
        "nothing was lost",
        "every candle to equal the exchange's, no gap, and a ledger without a contradiction",
        _lost_nothing,
    ),
)


def drill(folder: Path, clock: Clock, *, spare_faults: Sequence[Fault] = ()) -> DrillReport:
    """Play the drill in a database made in ``folder``, which is gone afterwards; takes seconds.

    ``clock`` only says at which minute the drill's own clock begins. ``spare_faults`` are the second endpoint's from
    the beginning: a drill of the drill. A step that does not hold is told in the report, not raised.

    Raises:
        AlreadyRunning: another drill plays in the folder.
        NeedsAPerson, DatabaseUnavailable: Postgres cannot run there.
    """
    with ExitStack() as last, EmbeddedPostgres(folder) as server:
        last.callback(shutil.rmtree, folder, ignore_errors=True)  # only what is ours, and once the server has ended
        # a name of its own: a drill that was killed may have left the server with its tables in it
        url = server.dsn(f"drill_{secrets.token_hex(4)}")
        create_database_if_missing(url)
        migrate(url)
        with Database(url, application_name="hl_drill") as database:
            return play(database, clock, spare_faults=spare_faults)


def play(database: Database, clock: Clock, *, spare_faults: Sequence[Fault] = ()) -> DrillReport:
    """The steps, on a migrated and empty database."""
    report = DrillReport()
    with _stage(database, clock, spare_faults) as stage:
        for name, expected, step in STEPS:
            began_ms, began = stage.clock.now_ms(), time.monotonic()
            try:
                seen = step(stage)
            except PipelineError as error:
                seen = Seen(str(error), held=False)
            minutes = (stage.clock.now_ms() - began_ms) / MINUTE_MS
            report.steps.append(Step(name, expected, *seen, round(minutes, 1), round(time.monotonic() - began, 2)))
            if not seen.held:
                break
    return report


@contextmanager
def _stage(database: Database, clock: Clock, spare_faults: Sequence[Fault]) -> Iterator[Stage]:
    """Two sandboxes of one truth, and the collector before them."""
    now = ManualClock(Interval.M1.floor(clock.now_ms()) + _PAST_THE_MINUTE_MS)
    budget = PostgresBudget(database, key="drill", max_weight=_PLENTY)
    budget.ensure()
    endpoints = PostgresEndpoints(database, clock=now)
    with ExitStack() as stack:
        first, second = (stack.enter_context(_sandbox(now, faults)) for faults in ((), spare_faults))
        source = HyperliquidRest(
            [first.url, second.url],
            budget=budget,
            registry=endpoints,
            sleep=lambda seconds: now.advance(int(1000 * seconds) + 1),
            monotonic=lambda: now.now_ms() / 1000,
        )
        stack.enter_context(source)
        endpoints.ensure(source.endpoints)
        yield Stage(first, second, database, now, source, endpoints)


def _sandbox(clock: ManualClock, faults: Sequence[Fault]) -> RunningSandbox:
    world = World(SEED, clock=clock, history_days=1)
    return RunningSandbox(
        world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE), faults=FaultPlan(SEED, faults)
    )


def _slots(missing: int) -> str:
    return f"{missing} slots missing" if missing else "no slot missing"
