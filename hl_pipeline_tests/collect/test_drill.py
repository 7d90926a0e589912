"""The two-phase drill against a real HTTP exchange: it lies a little, then ten minutes later tells the truth.

Phase one: the newest candle is still open, ten older slots are not published
yet, one closed candle shows half its volume. Phase two: all is as it should be.
Whatever the exchange does with windows and quiet minutes, what we hold
afterwards equals its truth, and every change is on record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.faults import FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, WindowMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations

MINUTE = 60_000
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
STORED = """
select hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades
from hl.candles where coin = %(coin)s and interval = %(interval)s and finality = 'final' order by open_time
"""
SETTLED_WITHOUT_ROW = """
select hl.epoch_ms(lower(slot)), hl.epoch_ms(upper(slot)) from hl.coverage
join hl.series using (series_id) join hl.market using (market_id)
cross join lateral unnest(case %(state)s when 'empty' then empty else lost end) slot
where coin = %(coin)s and interval = %(interval)s
"""


class Drill:
    """A collector and the exchange it collects from, under one clock."""

    def __init__(
        self, sandbox: RunningSandbox, source: HyperliquidRest, database: Database, coins: tuple[str, ...]
    ) -> None:
        self.sandbox, self.source, self.database, self.coins = sandbox, source, database, coins
        assert isinstance(sandbox.clock, ManualClock)
        self.clock = sandbox.clock

    def collect(self) -> FillReport:
        report = fill(self.source, self.database, self.clock)
        with self.database.connection() as connection:
            assert violations(connection) == []
        return report

    def stored(self, coin: str, interval: Interval) -> list[Candle]:
        with self.database.connection() as connection:
            rows = connection.execute(STORED.encode(), {"coin": coin, "interval": str(interval)})
            return [Candle(*row) for row in rows]

    def truth(self, coin: str, interval: Interval, stored: list[Candle]) -> list[Candle]:
        start, end = stored[0].open_ms, stored[-1].open_ms + interval.milliseconds
        return self.sandbox.truth.candles(coin, interval, start, end)

    def settled(self, state: str, coin: str, interval: Interval) -> set[int]:
        """Open times of the slots that the ledger calls ``empty`` or ``lost``."""
        values = {"state": state, "coin": coin, "interval": str(interval)}
        with self.database.connection() as connection:
            spans = connection.execute(SETTLED_WITHOUT_ROW.encode(), values).fetchall()
        return {at for start, end in spans for at in range(start, end, interval.milliseconds)}

    def revisions(self) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute("select hl.epoch_ms(open_time), volume::text from hl.candle_revision").fetchall()


@contextmanager
def drilling(
    database: Database, manners: Manners, coins: tuple[str, ...], intervals: tuple[Interval, ...]
) -> Iterator[Drill]:
    clock = ManualClock(NOON + 20_000)
    world = World(7, clock=clock, history_days=30)
    budget = PostgresBudget(database, key="drill", max_weight=100_000)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=manners) as sandbox,
        HyperliquidRest(sandbox.url, budget=budget) as source,
    ):
        refresh_markets(source, database, clock, coins=coins, intervals=intervals)
        yield Drill(sandbox, source, database, coins)


def same(stored: list[Candle], truth: list[Candle]) -> bool:
    """Equal as numbers: Postgres gives decimals back as they came, the truth may spell a zero otherwise."""
    return [numbers(found) for found in stored] == [numbers(true) for true in truth]


def numbers(candle: Candle) -> tuple[object, ...]:
    return (candle.open_ms, *(Decimal(text) for text in candle[1:6]), candle.trades)


@pytest.mark.parametrize("window", list(WindowMode))
@pytest.mark.parametrize("interval", [Interval.M1, Interval.M5, Interval.H1])
def test_ten_late_slots_a_halved_candle_and_an_open_one_all_end_right(
    database: Database, window: WindowMode, interval: Interval
) -> None:
    step = interval.milliseconds
    edge = interval.floor(NOON + 20_000)
    late = [edge - n * step for n in range(200, 210)]
    halved = edge - 4 * step
    with drilling(database, Manners(QuietMode.DENSE, window), ("BTC",), (interval,)) as drill:
        truth_later = NOON + 10 * MINUTE
        drill.sandbox.faults.late("BTC", str(interval), late, until_ms=truth_later)
        drill.sandbox.faults.revised("BTC", str(interval), [halved], until_ms=truth_later)
        drill.collect()
        assert not {found.open_ms for found in drill.stored("BTC", interval)} & set(late)
        with drill.database.connection() as connection:
            assert connection.execute("select reason from hl.gap where reason = 'absent'").fetchall() == [("absent",)]

        drill.clock.set(max(truth_later, edge + step) + 20_000)
        drill.collect()

        stored = drill.stored("BTC", interval)
        assert same(stored, drill.truth("BTC", interval, stored))
        assert stored[-1].open_ms >= edge, "the candle that was open is final now"
        ((slot, old_volume),) = drill.revisions()
        assert slot == halved
        true_volume = next(found.volume for found in stored if found.open_ms == halved)
        assert abs(Decimal(str(old_volume)) * 2 - Decimal(true_volume)) <= Decimal("1e-6") * Decimal(true_volume)


@pytest.mark.parametrize("quiet", list(QuietMode))
def test_every_way_of_publishing_quiet_minutes_ends_with_each_slot_final_or_proven_empty(
    database: Database, quiet: QuietMode
) -> None:
    coin = "kLUNC"
    with drilling(database, Manners(quiet), (coin,), (Interval.M1,)) as drill:
        drill.collect()
        for _ in range(6):
            drill.clock.advance(31 * MINUTE)
            drill.collect()
        stored = drill.stored(coin, Interval.M1)
        truth = drill.truth(coin, Interval.M1, stored)
        assert any(true.trades == 0 for true in truth), "the market must have quiet minutes for this to test anything"
        empty, lost = (drill.settled(state, coin, Interval.M1) for state in ("empty", "lost"))
        by_open = {true.open_ms: true for true in truth}
        assert all(by_open[at].trades == 0 for at in empty), "only minutes without a trade may be called empty"
        assert same(stored, [by_open[found.open_ms] for found in stored])
        old_enough = drill.clock.now_ms() - 150 * MINUTE
        open_questions = {at for at in by_open if at < old_enough} - empty - lost - {found.open_ms for found in stored}
        assert open_questions == set()
        assert bool(empty) is (quiet is QuietMode.SPARSE)


def test_a_burst_of_429_is_waited_out_and_nothing_is_missing(database: Database) -> None:
    waits: list[float] = []
    with drilling(database, Manners(QuietMode.DENSE), ("BTC", "ETH"), (Interval.M1, Interval.M5)) as drill:
        budget = PostgresBudget(database, key="drill", max_weight=100_000)
        with HyperliquidRest(drill.sandbox.url, budget=budget, sleep=waits.append) as patient:
            drill.sandbox.faults.fail_next(FaultKind.RATE_LIMITED, times=3)
            report = fill(patient, database, drill.clock)
        assert report.failures == []
        assert report.landed == 4
        assert patient.stats.status_429 == 3
        assert waits, "a 429 must be answered by waiting"
        with drill.database.connection() as connection:
            assert connection.execute("select sum(refused) from hl.fetch").fetchone() == (3,)
