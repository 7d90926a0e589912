"""Four days of silence, fifty markets: what the exchange still has is healed within the budget, the rest is lost.

Time is simulated: waiting for the weight budget moves the clock, and the
exchange counts weight on the same clock, so that the recovery takes as many
minutes as it would.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

from hl_pipeline.collect.drain import drain
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.sandbox.catalogue import first_perps
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.request_log import LoggedRequest
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations

MINUTE = 60_000
DAY = 1440 * MINUTE
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
MARKETS = 50
INTERVALS = (Interval.M1, Interval.M5, Interval.H1)
BUDGET = 1164  # of 1200 a minute, as in production
SLOTS = """
select coin, interval, hl.epoch_ms(coalesce(first_open, tracked_from)), hl.epoch_ms(known_until),
    coalesce(sum(hl.slots_in(final, step)), 0), coalesce(sum(hl.slots_in(empty, step)), 0),
    coalesce(sum(hl.slots_in(lost, step)), 0),
    coalesce(
        (select sum(hl.slots_in(tstzmultirange(slots), step)) from hl.gap where gap.series_id = series.series_id), 0
    )
from hl.series join hl.market using (market_id) left join hl.coverage using (series_id)
group by series_id, coin, interval
"""


class Outage:
    """The collector, its exchange and one clock for both."""

    def __init__(self, database: Database, sandbox: RunningSandbox, source: HyperliquidRest) -> None:
        self.database, self.sandbox, self.source = database, sandbox, source
        assert isinstance(sandbox.clock, ManualClock)
        self.clock = sandbox.clock
        # one thread: each waits on the same clock
        self.policy = FillPolicy(concurrency=1)

    def tick_and_drain(self) -> int:
        """One live tick and one drain; the requests they planned."""
        tick = fill(self.source, self.database, self.clock, self.policy, only=live_slots)
        drained = drain(self.source, self.database, self.clock, self.policy)
        assert tick.failures + drained.failures == []
        return tick.planned + drained.planned

    def open_gaps(self) -> int:
        with self.database.connection() as connection:
            assert violations(connection) == []
            ((count,),) = connection.execute("select count(*) from hl.gap where reason <> 'provisional'")
        return int(count)


@pytest.fixture
def outage(database: Database) -> Iterator[Outage]:
    clock = ManualClock(NOON + 20_000)
    world = World(11, markets=first_perps(MARKETS, NOON - 5 * DAY), clock=clock, history_days=1)
    budget = PostgresBudget(database, key="outage", max_weight=BUDGET, clock=clock)
    budget.ensure()
    with (
        RunningSandbox(
            world, limiter=WeightLimiter(LimiterMode.BUCKET, clock), manners=Manners(QuietMode.DENSE)
        ) as sandbox,
        HyperliquidRest(
            sandbox.url,
            budget=budget,
            sleep=lambda seconds: clock.advance(int(seconds * 1000) + 1),
            monotonic=lambda: clock.now_ms() / 1000,
        ) as source,
    ):
        coins = [market.coin for market in world.markets]
        refresh_markets(source, database, clock, coins=coins, intervals=INTERVALS)
        yield Outage(database, sandbox, source)


@pytest.mark.timeout(600)
def test_four_days_of_silence_are_healed_as_far_as_the_exchange_remembers(outage: Outage) -> None:
    clock, log = outage.clock, outage.sandbox.log
    while outage.tick_and_drain():
        pass
    stopped_ms = Interval.M1.floor(clock.now_ms())
    before = known(outage)
    clock.advance(4 * DAY)
    log.clear()

    started_ms = clock.now_ms()
    while outage.tick_and_drain() and outage.open_gaps():
        clock.advance(MINUTE)

    assert outage.open_gaps() == 0
    assert log.refusals() == 0
    assert log.max_weight_in(MINUTE) <= 1200
    minutes = (clock.now_ms() - started_ms) / MINUTE
    first_reads = served_first(log.entries())
    after = known(outage)
    for (coin, interval), (expected_from, known_until, final, empty, lost, provisional) in after.items():
        step = interval.milliseconds
        assert final + empty + lost + provisional == (known_until - expected_from) // step, (
            f"{coin} {interval} does not add up"
        )
        # what the exchange had forgotten by the time it was first asked is lost, and nothing else
        forgotten = max(0, first_reads[coin, interval] - before[coin, interval][1]) // step
        assert lost == forgotten, f"{coin} {interval}"
    lost_minutes = {coin: lost for (coin, interval), (*_, lost, _) in after.items() if interval is Interval.M1}
    assert len(lost_minutes) == MARKETS
    gone = (started_ms - stopped_ms) // MINUTE - (WINDOW_SLOTS - 1)
    assert all(gone <= lost <= gone + minutes + 1 for lost in lost_minutes.values())
    assert 755 <= gone <= 765
    assert all(lost == 0 for (_, interval), (*_, lost, _) in after.items() if interval is not Interval.M1)


def known(outage: Outage) -> dict[tuple[str, Interval], tuple[int, int, int, int, int, int]]:
    """(expected from, known until, final, empty, lost, still provisional) of every series; ms, then slots."""
    with outage.database.connection() as connection:
        rows = connection.execute(SLOTS.encode()).fetchall()
    return {(row[0], Interval(row[1])): tuple(int(value) for value in row[2:]) for row in rows}  # type: ignore[misc]


def served_first(entries: list[LoggedRequest]) -> dict[tuple[str, Interval], int]:
    """The oldest slot of each series that the exchange gave since the log was cleared; ms."""
    oldest: dict[tuple[str, Interval], int] = defaultdict(lambda: int(time.time() * 1000))
    for entry in entries:
        if entry.request == "candleSnapshot" and entry.status == 200 and entry.start_ms is not None:
            interval = Interval(entry.interval)
            reach = max(interval.floor(entry.start_ms), interval.oldest_reachable(entry.market_ms))
            oldest[entry.coin, interval] = min(oldest[entry.coin, interval], reach)
    return oldest
