"""After an outage: the tick brings the live edge, the drain the rest, those about to be forgotten first."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from hl_pipeline.collect.drain import drain, due_queue
from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.land import reason_of
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable, PipelineError, RateLimited, RequestRefused
from hl_pipeline.model.gap_queue import LIVE_SLOTS, live_slots
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.sandbox.world import Manners, QuietMode
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.service import Ambiguous, Unserved
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.gaps import open_gaps
from hl_pipeline.storage.series import violations
from hl_pipeline_tests.collect.test_derivation import Ladder
from hl_pipeline_tests.collect.test_drill import drilling, same
from hl_pipeline_tests.fakes import FakeExchange, market

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
POLICY = FillPolicy(concurrency=1)
VOLUMES = "update hl.market_context set day_notional_volume = 9e9 from hl.market"
BUSY = " where market.market_id = market_context.market_id and coin = 'SOL'"
LANES = "select coin, lane from hl.fetch where request_type = 'candleSnapshot' order by fetch_id"


class Bench:
    def __init__(self, database: Database, coins: tuple[str, ...] = ("BTC", "ETH", "SOL")) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = FakeExchange(self.clock, markets=[market(coin) for coin in coins])
        refresh_markets(self.exchange, database, self.clock, coins=coins, intervals=[Interval.M1])
        self.tick()

    def tick(self) -> FillReport:
        return self.checked(fill(self.exchange, self.database, self.clock, POLICY, only=live_slots))

    def drain(self, most: int = 100) -> FillReport:
        return self.checked(drain(self.exchange, self.database, self.clock, POLICY, most_requests=most))

    def checked(self, report: FillReport) -> FillReport:
        with self.database.connection() as connection:
            assert violations(connection) == []
        return report

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def asked_since(self, count: int) -> list[str]:
        return [request.series.coin for request in self.exchange.requests[count:]]


def all_but(coin: str) -> Callable[[CandleRequest], PipelineError | None]:
    """Only the requests of this coin are answered."""
    return lambda request: BadAnswer("no") if request.series.coin != coin else None


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_the_first_tick_takes_everything_and_leaves_the_drain_nothing(bench: Bench) -> None:
    assert bench.rows("select count(*) from hl.candles where finality = 'final'") == [(3 * (WINDOW_SLOTS - 1),)]
    assert due_queue(bench.database, bench.clock.now_ms(), POLICY.proof).requests == []
    assert bench.drain() == FillReport()


def test_after_days_of_silence_a_tick_reads_as_far_as_its_re_read_goes_and_the_drain_the_rest(bench: Bench) -> None:
    bench.clock.advance(72 * HOUR)
    tick = bench.tick()
    assert (tick.weight, tick.settled_final) == (3 * 57, 3 * 36 * 60)  # everything at once would cost 92 a market
    due = due_queue(bench.database, bench.clock.now_ms(), POLICY.proof)
    assert len(due.requests) == 3
    assert due.slots == 3 * 36 * 60
    bench.drain()
    assert bench.rows("select count(*) from hl.gap") == [(0,)]
    assert bench.rows("select count(*) from hl.candles where finality = 'final'") == [
        (3 * (WINDOW_SLOTS - 1 + 72 * 60),)
    ]


def test_what_is_nearly_forgotten_is_asked_for_first_and_in_the_urgent_lane(bench: Bench) -> None:
    bench.clock.advance(80 * HOUR)
    for coin in ("BTC", "SOL"):
        bench.exchange.error = all_but(coin)
        bench.tick()
    count = len(bench.exchange.requests)
    bench.exchange.error = lambda _: None
    bench.clock.advance(HOUR)
    with bench.database.connection() as connection:
        connection.execute((VOLUMES + BUSY).encode())
    bench.drain()
    lanes = bench.rows(LANES)[count:]
    assert {lane for _, lane in lanes} == {"urgent_gap"}
    assert lanes[0] == ("SOL", "urgent_gap"), "of the same deadline the larger market first"
    assert bench.rows("select count(*) from hl.gap where reason <> 'failed'") == [(0,)]


def test_a_gap_with_days_left_is_drained_in_the_gap_lane(bench: Bench) -> None:
    bench.clock.advance(10 * HOUR)
    bench.exchange.error = lambda request: BadAnswer("no") if request.series.coin == "ETH" else None
    bench.tick()
    bench.exchange.error = lambda _: None
    bench.clock.advance(10 * HOUR)
    count = len(bench.exchange.requests)
    bench.drain()
    assert {lane for _, lane in bench.rows(LANES)[count:]} == {"gap"}
    assert bench.exchange.requests[count:], "something must have been asked"


def test_a_drain_asks_no_more_than_it_may_and_the_next_goes_on(bench: Bench) -> None:
    bench.clock.advance(72 * HOUR)
    bench.tick()
    count = len(bench.exchange.requests)
    assert [bench.drain(most=2).planned, bench.drain(most=2).planned, bench.drain(most=2).planned] == [2, 1, 0]
    assert sorted(bench.asked_since(count)) == ["BTC", "ETH", "SOL"]


def test_a_drain_that_may_ask_nothing_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="at least once"):
        bench.drain(most=0)


def test_an_exchange_that_was_down_for_hours_is_named_as_the_reason_and_all_is_healed_in_time(bench: Bench) -> None:
    down_since = bench.clock.now_ms()
    bench.exchange.error = lambda _: ExchangeUnavailable("502")
    for _ in range(30):
        bench.clock.advance(30 * MINUTE)
        bench.tick()
        bench.drain()
    with bench.database.connection() as connection:
        found = open_gaps(connection, bench.clock.now_ms(), settle_ms=10_000, period_ms=MINUTE)
    assert {gap.reason for gap in found} == {GapReason.EXCHANGE_DOWN}
    assert {gap.why for gap in found} == {"exchange down"}
    assert sum(gap.slots for gap in found) == 3 * 900
    bench.exchange.error = lambda _: None
    bench.clock.advance(MINUTE)
    assert bench.tick().failures == []
    newest = "select count(*) from hl.candles where finality = 'final' and open_time >= now_ms - interval '4 hours'"
    moment = f"to_timestamp({bench.clock.now_ms() // MINUTE * MINUTE // 1000})"
    assert bench.rows(newest.replace("now_ms", moment)) == [(3 * LIVE_SLOTS,)], "the edge is there after one tick"
    for _ in itertools.takewhile(lambda _: bench.rows("select 1 from hl.gap"), range(20)):
        bench.clock.advance(10 * MINUTE)
        bench.tick()
        bench.drain()
    assert bench.rows("select count(*) from hl.gap") == [(0,)]
    assert bench.clock.now_ms() - down_since < 20 * HOUR


def test_a_request_that_fails_alone_is_not_called_an_outage(bench: Bench) -> None:
    bench.exchange.error = lambda request: BadAnswer("html") if request.series.coin == "ETH" else None
    bench.clock.advance(MINUTE)
    bench.tick()
    assert bench.rows("select reason from hl.gap") == [("failed",)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExchangeUnavailable("timed out"), GapReason.EXCHANGE_DOWN),
        (Unserved("502"), GapReason.EXCHANGE_DOWN),
        (Ambiguous("500"), GapReason.FAILED),
        (RateLimited("429"), GapReason.FAILED),
        (BadAnswer("html"), GapReason.FAILED),
        (RequestRefused("422"), GapReason.FAILED),
    ],
)
def test_only_an_exchange_that_answers_nobody_is_down(error: PipelineError, reason: GapReason) -> None:
    assert reason_of(error) is reason


def test_forty_minutes_of_502_from_a_real_server_are_named_and_healed(database: Database) -> None:
    with drilling(database, Manners(QuietMode.DENSE), ("BTC",), (Interval.M1,)) as drill:
        drill.collect()
        drill.sandbox.faults.outage(drill.clock.now_ms(), drill.clock.now_ms() + 40 * MINUTE)
        budget = PostgresBudget(database, key="drill", max_weight=100_000)
        with HyperliquidRest(drill.sandbox.url, budget=budget, sleep=lambda _: None) as hasty:
            for _ in range(4):
                drill.clock.advance(9 * MINUTE)
                fill(hasty, database, drill.clock, only=live_slots)
        with database.connection() as connection:
            found = open_gaps(connection, drill.clock.now_ms(), settle_ms=10_000, period_ms=MINUTE)
        assert {gap.why for gap in found} == {"exchange down"}
        assert sum(gap.slots for gap in found) == 36
        drill.clock.advance(5 * MINUTE)
        assert fill(drill.source, database, drill.clock, only=live_slots).failures == []
        with database.connection() as connection:
            assert connection.execute("select count(*) from hl.gap").fetchone() == (0,)
        stored = drill.stored("BTC", Interval.M1)
        assert same(stored, drill.truth("BTC", Interval.M1, stored))


def test_drained_minutes_give_the_larger_candles_too(database: Database) -> None:
    clock = ManualClock(NOON + 20_000)
    # a short past: a day candle of the fake is the sum of its minutes, made anew each time
    exchange = Ladder(clock, markets=[market("BTC")], history_start_ms=NOON - 48 * HOUR)
    refresh_markets(exchange, database, clock, coins=["BTC"], intervals=list(Interval))
    fill(exchange, database, clock, POLICY, only=live_slots)
    clock.advance(60 * HOUR)
    fill(exchange, database, clock, POLICY, only=live_slots)
    exchange.requests.clear()
    report = drain(exchange, database, clock, POLICY)
    asked = [request.series.interval for request in exchange.requests]
    assert asked == [Interval.M1]
    assert report.derived > 24 * 12, "the drained day and the smallest of its larger candles alone"
    with database.connection() as connection:
        assert violations(connection) == []
        assert connection.execute("select count(*) from hl.gap").fetchone() == (0,)
