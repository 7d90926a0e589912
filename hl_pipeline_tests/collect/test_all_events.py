"""One long day in which everything happens: each slot ends right, and each event is where a person would look.

An open candle, ten late slots, a halved candle, a row that vanishes, a quiet
minute published hours late, forty minutes without the exchange, a delisting and
a listing. For both ways of cutting windows and all ways of publishing quiet minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_pipeline.collect.drain import drain
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.health.report import report
from hl_pipeline.health.verdict import Verdict
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, WindowMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage import health
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations
from hl_pipeline_tests.collect.test_chaos import check_series
from hl_pipeline_tests.collect.test_drill import MINUTE, NOON, Drill

HOUR = 60 * MINUTE
INTERVALS = (Interval.M1, Interval.M5, Interval.H1)
LISTED, DELISTED = NOON + 3 * HOUR, NOON + 4 * HOUR
LATE = [NOON - n * MINUTE for n in range(200, 210)]
HALVED = NOON - 4 * MINUTE
VANISHING = NOON - 30 * MINUTE
OUTAGE = (NOON + HOUR, NOON + HOUR + 40 * MINUTE)


class Day(Drill):
    """A drill that works as the schedule does: refreshed hourly, ticks at the edge, drains behind it."""

    def to(self, at_ms: int) -> None:
        """Move the clock there, then refresh, tick and drain."""
        self.clock.set(at_ms + 20_000)
        try:
            refresh_markets(
                self.source, self.database, self.clock, coins=(), intervals=INTERVALS, universe=Universe.ALL
            )
        except TryAgain:
            assert OUTAGE[0] <= self.clock.now_ms() < OUTAGE[1]
        policy = FillPolicy()
        fill(self.source, self.database, self.clock, policy, only=live_slots)
        drain(self.source, self.database, self.clock, policy)
        with self.database.connection() as connection:
            assert violations(connection) == []

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def gaps(self, coin: str) -> set[object]:
        """Why slots of the market's minutes are open now."""
        return {
            reason
            for name, reason in self.rows(
                "select coin, reason from hl.gap join hl.series using (series_id) join hl.market using (market_id)"
                " where interval = '1m'"
            )
            if name == coin
        }

    def verdict(self, name: str) -> Verdict:
        with self.database.connection() as connection:
            found = report(health.gather(connection, self.clock.now_ms(), 60.0))
        return next(verdict for verdict in found.verdicts if verdict.name == name)

    def alerts(self) -> set[tuple[object, ...]]:
        """(rule, coin) of every alert raised so far."""
        return set(self.rows("select rule, labels ->> 'coin' from hl.alert"))


@pytest.fixture(
    params=[(quiet, window) for quiet in QuietMode for window in WindowMode], ids=lambda p: f"{p[0]}-{p[1]}"
)
def day(database: Database, request: pytest.FixtureRequest) -> Iterator[Day]:
    clock = ManualClock(NOON)
    markets = [
        MarketSpec("BTC", 64_000, 5, 40),
        MarketSpec("QUIET", 0.4, 1, 5, quiet=0.3),
        MarketSpec("GOING", 12, 2, 5, quiet=0.02, delisted_ms=DELISTED),
        MarketSpec("COMING", 3, 2, 5, quiet=0.02, listed_ms=LISTED),
    ]
    world = World(5, markets=markets, clock=clock, history_days=1)
    budget = PostgresBudget(database, key="day", max_weight=1_000_000)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(*request.param)) as sandbox,
        HyperliquidRest(sandbox.url, budget=budget, sleep=lambda _: None) as source,
    ):
        yield Day(sandbox, source, database, tuple(market.coin for market in markets))


def test_a_day_in_which_everything_happens(day: Day) -> None:
    faults = day.sandbox.faults
    quiet = quiet_minute(day)
    faults.late("BTC", "1m", LATE, until_ms=NOON + 10 * MINUTE)
    faults.revised("BTC", "1m", [HALVED], until_ms=NOON + 10 * MINUTE)
    faults.late("QUIET", "1m", [quiet], until_ms=NOON + 5 * HOUR)
    faults.outage(*OUTAGE)

    day.to(NOON)
    assert day.rows("select count(*) from hl.candles where coin = 'BTC' and finality = 'open'") == [(3,)]
    assert day.gaps("BTC") == {"absent"}

    day.to(NOON + 11 * MINUTE)
    assert "absent" not in day.gaps("BTC")
    assert set(LATE) <= {found.open_ms for found in day.stored("BTC", Interval.M1)}
    assert (HALVED,) in day.rows("select hl.epoch_ms(open_time) from hl.candle_revision")

    vanished = faults.add(Fault(FaultKind.VANISHED, "BTC", "1m", opens_ms=(VANISHING,)))[0]
    day.to(NOON + 12 * MINUTE)
    assert not day.verdict("no_vanished_rows").passed
    assert "2026-07-26 11:30" in day.verdict("no_vanished_rows").sentence
    faults.remove(vanished)
    day.to(NOON + 13 * MINUTE)
    assert day.verdict("no_vanished_rows").passed

    assert quiet not in {found.open_ms for found in day.stored("QUIET", Interval.M1)}
    day.to(NOON + 45 * MINUTE)
    for minute in (65, 75, 85, 95):
        day.to(NOON + minute * MINUTE)
    assert day.gaps("BTC") == {"exchange_down"}
    assert not day.verdict("fresh_1m").passed
    assert not day.verdict("api_answers").passed
    day.to(NOON + 105 * MINUTE)
    assert "exchange_down" not in day.gaps("BTC")

    for minute in range(120, 9 * 60, 15):
        day.to(NOON + minute * MINUTE)
    assert {("market_listed", "COMING"), ("market_delisted", "GOING")} <= day.alerts()
    history = set(day.rows("select coin, attribute, new_value from hl.market_history join hl.market using (market_id)"))
    assert {("COMING", "listed", "COMING"), ("GOING", "is_delisted", "true")} <= history
    assert day.rows("select count(*) from hl.series join hl.market using (market_id) where coin = 'COMING'") == [(3,)]
    ended = day.rows(
        "select distinct ended_at is not null from hl.series join hl.market using (market_id) where coin = 'GOING'"
    )
    assert ended == [(True,)]

    # two days for the last re-reads, then time enough to prove the newest absences
    at = NOON + 9 * HOUR
    for pause in [12 * HOUR] * 4 + [31 * MINUTE] * 8:
        at += pause
        day.to(at)
    day.clock.advance(MINUTE)
    for coin in day.coins:
        for interval in INTERVALS:
            check_series(day, coin, interval)
    if quiet_rows_are_published(day):
        assert quiet in {found.open_ms for found in day.stored("QUIET", Interval.M1)}, "published late, final after all"


def quiet_minute(day: Day) -> int:
    """A minute of the quiet market without a trade, between two that trade, within the last hour."""
    minutes = day.sandbox.truth.candles("QUIET", Interval.M1, NOON - 50 * MINUTE, NOON - 10 * MINUTE)
    for before, it, after in zip(minutes, minutes[1:], minutes[2:], strict=False):
        if before.trades and not it.trades and after.trades:
            return it.open_ms
    raise AssertionError("this world has no quiet minute to publish late")


def quiet_rows_are_published(day: Day) -> bool:
    return day.sandbox.exchange.manners.quiet is not QuietMode.SPARSE
