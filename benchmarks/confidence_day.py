"""One simulated day of an exchange on which every market is spoilt in its own way, collected and scored for real.

Requests go over HTTP to the sandbox, answers through the same fill and landing as ever, scores come out of the same
queries. Then what is stored is held against the sandbox's truth.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from benchmarks.confidence_faults import HOUR_MS, PAST_THE_MINUTE_MS, STORIES, Day, FaultStory
from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.markets import refresh_contexts, refresh_markets
from hl_pipeline.derived.confidence import score
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.trust import Confidence
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage import confidence
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.series import violations

#: The score looks at the 24 h before this: 2026-07-27T01:00:20Z. History begins an hour earlier.
NOW_MS = 1_785_114_020_000
START_MS = NOW_MS - PAST_THE_MINUTE_MS - 24 * HOUR_MS
#: Every market is read for the first time here, then now and then until now.
FIRST_READ_MS = START_MS + 11 * HOUR_MS
READS_BEFORE_NOW_MIN = (9 * 60, 6 * 60, 5 * 60, 3 * 60, 2 * 60, 60, 30, 15, 10, 5, 0)
PERIOD_S = 60.0
SETTLE_MS = 10_000
INTERVALS = (Interval.M1, Interval.M5, Interval.M15)
CLEAN_MARKETS = 10
_STORY_OF = {story.name: story for story in STORIES}
STORED = """
select coin, hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades
from hl.candles
where interval = %(interval)s and finality <> 'open'
    and open_time >= timestamptz 'epoch' + %(start)s * interval '1 ms'
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A market and what befalls it, by the story's name; a clean one has none."""

    coin: str
    seed: int
    kind: str = ""
    severity: int = 0

    @property
    def story(self) -> FaultStory | None:
        """What befalls the market."""
        return _STORY_OF.get(self.kind)

    @property
    def size(self) -> int:
        """How large the fault is, in its story's unit."""
        return 0 if self.story is None else self.story.sizes[self.severity]

    @property
    def spoilt(self) -> Interval:
        """The interval of the series that is judged."""
        return Interval.M1 if self.story is None else self.story.spoilt

    @property
    def collected(self) -> tuple[Interval, ...]:
        """The intervals that are collected of the market."""
        return INTERVALS[:1] if self.story is not None and self.story.alone else INTERVALS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the score said of one series of a case, and the share of its due slots that differ from the truth."""

    case: Case
    interval: Interval
    confidence: Confidence
    error: float

    @property
    def score(self) -> float:
        """The score."""
        return self.confidence.score

    @property
    def story(self) -> FaultStory | None:
        """What befell the market."""
        return self.case.story

    @property
    def is_spoilt(self) -> bool:
        """Whether this is the very series that the fault is in."""
        return self.case.story is not None and self.interval is self.case.spoilt

    @property
    def blamed(self) -> bool:
        """Whether the score names the component that was spoilt."""
        return self.case.story is not None and self.confidence.weakest == self.case.story.component


def cases(
    seed: int,
    stories: Sequence[FaultStory] = STORIES,
    severities: Sequence[int] = range(10),
    clean: int = CLEAN_MARKETS,
) -> list[Case]:
    """A market for each kind and size of fault, and some clean ones."""
    found = [Case(f"CLEAN{n}", seed) for n in range(clean)]
    for kind, story in enumerate(stories):
        found += [Case(f"F{kind:02}S{severity}", seed, story.name, severity) for severity in severities]
    return found


def run_day(database: Database, seed: int, day_cases: Sequence[Case]) -> list[Outcome]:
    """Collect the day on an empty, migrated database and judge every case."""
    clock = ManualClock(FIRST_READ_MS + PAST_THE_MINUTE_MS)
    world = World(seed, markets=[_market(case) for case in day_cases], clock=clock, history_days=0)
    budget = PostgresBudget(database, key=f"validation-{seed}", max_weight=10_000_000)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE)) as sandbox,
        HyperliquidRest(sandbox.url, budget=budget, sleep=lambda _: None) as source,
    ):
        days = {case.coin: _spoil(sandbox, case) for case in day_cases}
        refresh_markets(source, database, clock, coins=list(days), intervals=INTERVALS)
        for at_ms, coins in _reads(days, day_cases):
            clock.set(at_ms)
            if at_ms == NOW_MS:
                refresh_contexts(source, database, clock, coins=list(days))
            _collect(source, database, clock, coins, day_cases)
        return _judge(database, sandbox, day_cases)


def _market(case: Case) -> MarketSpec:
    silent = case.story is not None and case.story.silent
    return MarketSpec(case.coin, 100.0, 2, 10, quiet=0.0 if silent else 0.01, trades_a_minute=40.0)


def _spoil(sandbox: RunningSandbox, case: Case) -> Day:
    minutes = sandbox.truth.candles(case.coin, Interval.M1, START_MS, NOW_MS)
    traded = frozenset(minute.open_ms for minute in minutes if minute.trades)
    chance = random.Random(f"{case.seed} {case.coin}")
    day = Day(START_MS, FIRST_READ_MS, NOW_MS - PAST_THE_MINUTE_MS, case.coin, traded, chance)
    if case.story is not None:
        sandbox.faults.add(*case.story.faults(day, case.size))
    return day


def _reads(days: Mapping[str, Day], day_cases: Sequence[Case]) -> Iterator[tuple[int, list[str]]]:
    """When which markets are read: all of them now and then, a market that an outage takes just before it."""
    planned = {FIRST_READ_MS + PAST_THE_MINUTE_MS: list(days)}
    for minutes in READS_BEFORE_NOW_MIN:
        planned[NOW_MS - minutes * MINUTE_MS] = list(days)
    for case in day_cases:
        if case.story is not None and case.story.last_good_read is not None:
            at_ms = case.story.last_good_read(days[case.coin], case.size)
            planned.setdefault(at_ms, []).append(case.coin)
    yield from sorted((at_ms, list(dict.fromkeys(coins))) for at_ms, coins in planned.items())


def _collect(
    source: HyperliquidRest, database: Database, clock: ManualClock, coins: Sequence[str], day_cases: Sequence[Case]
) -> None:
    alone = {case.coin for case in day_cases if len(case.collected) == 1}
    for group, intervals in (
        ([c for c in coins if c not in alone], INTERVALS),
        ([c for c in coins if c in alone], INTERVALS[:1]),
    ):
        if group:
            fill(source, database, clock, coins=group, intervals=intervals)


def _judge(database: Database, sandbox: RunningSandbox, day_cases: Sequence[Case]) -> list[Outcome]:
    with database.connection() as connection:
        broken = violations(connection)
        assert broken == [], f"the ledger does not hold, the figures mean nothing: {broken[:3]}"
        confidences = {i.key: score(i) for i in confidence.gather(connection, NOW_MS, PERIOD_S)}
        stored = {interval: _stored(connection, interval) for interval in INTERVALS}
    outcomes = []
    for case in day_cases:
        for interval in case.collected:
            truth = sandbox.truth.candles(case.coin, interval, START_MS, interval.floor(NOW_MS - SETTLE_MS))
            error = error_share(stored[interval].get(case.coin, {}), truth)
            outcomes.append(Outcome(case, interval, confidences[SeriesKey(case.coin, interval)], error))
    return outcomes


def _stored(connection: Connection, interval: Interval) -> dict[str, dict[int, Candle]]:
    found: dict[str, dict[int, Candle]] = {}
    for row in connection.execute(STORED, {"interval": str(interval), "start": START_MS}):
        found.setdefault(row[0], {})[row[1]] = Candle(*row[1:])
    return found


def error_share(stored: Mapping[int, Candle], truth: Sequence[Candle]) -> float:
    """Share of the due slots whose candle is not stored, or not with the true numbers.

    Every market of this exchange has a row for every minute, so a slot called empty is wrong too.
    """
    return sum(not _is_true(stored.get(true.open_ms), true) for true in truth) / len(truth)


def _is_true(found: Candle | None, true: Candle) -> bool:
    if found is None or found.trades != true.trades:
        return False
    if [Decimal(text) for text in found[1:5]] != [Decimal(text) for text in true[1:5]]:
        return False
    volume, true_volume = Decimal(found.volume), Decimal(true.volume)
    return abs(volume - true_volume) <= Decimal("1e-9") * max(volume, true_volume)
