"""Filling the ledger on a real Postgres, from an exchange that misbehaves on request."""

from __future__ import annotations

import hashlib

import pytest

from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted, ExchangeUnavailable, RequestRefused
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.storage import series as series_table
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, candle, market, series

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


class Bench:
    """A tracked market, an exchange, a clock and a database: what each test plays with."""

    def __init__(
        self, database: Database, coins: tuple[str, ...] = ("BTC",), intervals: tuple[Interval, ...] = (Interval.M1,)
    ) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = FakeExchange(self.clock, markets=[market(coin) for coin in coins])
        self.coins, self.intervals = coins, intervals
        self.refresh()

    def refresh(self) -> None:
        refresh_markets(self.exchange, self.database, self.clock, coins=self.coins, intervals=self.intervals)

    def fill(self) -> FillReport:
        report = fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=2))
        with self.database.connection() as connection:
            assert series_table.violations(connection) == []
        return report

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def scalar(self, statement: str) -> object:
        ((value,),) = self.rows(statement)
        return value

    def content(self) -> str:
        """A hash over the candles and the ledger, whatever ids they were given."""
        candles = self.rows(
            "select coin, interval, open_time, open, high, low, close, volume, trades, finality from hl.candles"
            " order by 1, 2, 3"
        )
        ledger = self.rows("select series_id, month, final, empty, lost from hl.coverage order by 1, 2")
        gaps = self.rows("select series_id, slots, reason from hl.gap order by 1, 2")
        return hashlib.sha256(repr((candles, ledger, gaps)).encode()).hexdigest()


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_the_first_fill_takes_all_the_exchange_has(bench: Bench) -> None:
    report = bench.fill()
    assert (report.planned, report.landed, report.weight) == (1, 1, 104)
    assert report.inserted == WINDOW_SLOTS
    assert report.settled_final == WINDOW_SLOTS - 1
    assert bench.scalar("select count(*) from hl.candles where finality = 'final'") == WINDOW_SLOTS - 1
    assert bench.scalar("select count(*) from hl.candles where finality = 'open'") == 1


def test_filling_again_at_the_same_instant_asks_and_changes_nothing(bench: Bench) -> None:
    bench.fill()
    before = bench.content()
    assert bench.fill() == FillReport()
    assert bench.content() == before


def test_a_tick_later_one_cheap_request_settles_the_candle_that_was_open(bench: Bench) -> None:
    bench.fill()
    bench.clock.advance(MINUTE)
    report = bench.fill()
    assert (report.weight, report.inserted, report.updated, report.revised) == (21, 1, 1, 0)


def test_a_candle_read_before_it_settled_is_provisional_and_final_one_tick_later(bench: Bench) -> None:
    bench.fill()
    bench.clock.set(NOON + 2 * MINUTE + 2_000)
    bench.fill()
    newest = "select finality from hl.candles order by open_time desc offset 1 limit 1"
    assert bench.scalar(newest) == "provisional"
    bench.clock.set(NOON + 2 * MINUTE + 12_000)
    bench.fill()
    assert bench.scalar(newest) == "final"


def test_late_slots_are_a_gap_until_the_exchange_publishes_them(bench: Bench) -> None:
    late = {(series(), NOON - minute * MINUTE) for minute in range(200, 210)}
    bench.exchange.hidden |= late
    bench.fill()
    assert bench.rows("select reason, upper(slots) - lower(slots) = interval '10 minutes' from hl.gap") == [
        ("absent", True)
    ]
    bench.exchange.hidden -= late
    bench.clock.advance(10 * MINUTE)
    bench.fill()
    assert bench.scalar("select count(*) from hl.gap where reason = 'absent'") == 0
    assert bench.scalar("select count(*) from hl.candles where finality = 'final'") == WINDOW_SLOTS - 1 + 10


def test_a_closed_candle_that_changes_leaves_a_revision_with_the_old_value(bench: Bench) -> None:
    slot = NOON - 5 * MINUTE
    truth = bench.exchange.truth(series(), slot)
    bench.exchange.changed[series(), slot] = truth._replace(volume="1.25")
    bench.fill()
    bench.exchange.changed.clear()
    bench.clock.advance(MINUTE)
    assert bench.fill().revised == 1
    assert bench.rows("select volume::text, hl.epoch_ms(open_time) from hl.candle_revision") == [("1.25", slot)]
    assert bench.scalar(f"select volume::text from hl.candles where hl.epoch_ms(open_time) = {slot}") == truth.volume


def test_prices_are_stored_to_the_last_digit_as_sent(bench: Bench) -> None:
    slot = NOON - 5 * MINUTE
    bench.exchange.changed[series(), slot] = candle(slot, "0.000001234567890123", volume="3495670.8399999999")
    bench.fill()
    assert bench.rows(f"select open::text, volume::text from hl.candles where hl.epoch_ms(open_time) = {slot}") == [
        ("0.000001234567890123", "3495670.8399999999")
    ]


def test_a_slot_absent_twice_is_verified_empty_and_a_late_row_makes_it_final(database: Database) -> None:
    bench = Bench(database, intervals=(Interval.M5,))
    key, slot = series(interval=Interval.M5), NOON - 30 * MINUTE
    empty = "select coalesce(sum(upper(slot) - lower(slot)), interval '0')::text from hl.coverage, unnest(empty) slot"
    bench.exchange.hidden.add((key, slot))
    bench.fill()
    assert bench.scalar(empty) == "00:00:00"
    bench.clock.advance(2 * HOUR)
    bench.fill()
    assert bench.scalar(empty) == "00:05:00"
    bench.exchange.hidden.clear()
    bench.clock.advance(5 * MINUTE)
    bench.fill()
    assert bench.scalar(empty) == "00:00:00"
    assert bench.scalar(f"select finality from hl.candles where hl.epoch_ms(open_time) = {slot}") == "final"


def test_a_row_published_hours_late_is_found_by_a_re_read(bench: Bench) -> None:
    slot = NOON - 30 * MINUTE
    bench.exchange.hidden.add((series(), slot))
    bench.fill()
    bench.clock.advance(2 * HOUR)
    bench.fill()
    assert bench.scalar("select count(*) from hl.coverage where not isempty(empty)") == 1
    bench.exchange.hidden.clear()
    for _ in range(6):
        bench.clock.advance(10 * MINUTE)
        bench.fill()
    assert bench.scalar("select count(*) from hl.coverage where not isempty(empty)") == 0
    assert bench.scalar(f"select finality from hl.candles where hl.epoch_ms(open_time) = {slot}") == "final"


def test_one_market_that_fails_does_not_hold_up_the_others(database: Database) -> None:
    bench = Bench(database, coins=("BTC", "ETH", "SOL"))
    bench.exchange.error = lambda request: RequestRefused("422: no such form") if request.series.coin == "ETH" else None
    report = bench.fill()
    assert report.landed == 2
    assert report.coins_failed == {"ETH"}
    assert bench.rows("select reason, attempts from hl.gap") == [("failed", 1)]
    assert bench.scalar("select error from hl.fetch where status = 'failed'") == "422: no such form"
    bench.exchange.error = lambda _: None
    assert bench.fill().planned == 0, "it waits before it tries again"
    bench.clock.advance(MINUTE)
    bench.fill()
    assert bench.scalar("select count(*) from hl.gap where reason = 'failed'") == 0


def test_an_exhausted_budget_stops_the_fill_and_leaves_the_slots_as_due_as_before(database: Database) -> None:
    bench = Bench(database, coins=("BTC", "ETH"))
    bench.exchange.error = lambda _: BudgetExhausted("1164 of 1164 weight spent", retry_after=9)
    report = bench.fill()
    assert (report.landed, report.failures) == (0, [])
    assert report.skipped >= 1
    bench.exchange.error = lambda _: None
    assert bench.fill().landed == 2


def test_rejected_rows_are_kept_with_their_rule_and_their_slot_stays_a_gap(bench: Bench) -> None:
    slot = NOON - 5 * MINUTE
    bench.exchange.hidden.add((series(), slot))
    bench.exchange.rejected = [RejectedRow(7, "a price is a positive decimal", "NaN", '{"o":"NaN"}')]
    report = bench.fill()
    assert (report.rejected, report.received) == (1, WINDOW_SLOTS)
    assert bench.rows("select position, rule, value from hl.rejected_row") == [
        (7, "a price is a positive decimal", "NaN")
    ]
    assert bench.rows("select reason from hl.gap") == [("rejected",)]


def test_four_days_of_silence_lose_exactly_what_the_exchange_forgot(bench: Bench) -> None:
    bench.fill()
    bench.clock.advance(4 * 24 * HOUR)
    report = bench.fill()
    forgotten = 4 * 24 * 60 - (WINDOW_SLOTS - 1)
    assert report.lost == forgotten
    assert report.settled_final == WINDOW_SLOTS - 1
    assert bench.scalar("select sum(upper(r) - lower(r)) = make_interval(mins => 761) from hl.coverage, unnest(lost) r")


def test_a_delisted_market_keeps_its_history_and_expects_no_more(database: Database) -> None:
    bench = Bench(database, coins=("MATIC",), intervals=(Interval.M1, Interval.D1))
    bench.exchange.universe = [market("MATIC", is_delisted=True)]
    bench.exchange.ends_at["MATIC"] = NOON - 100 * 24 * HOUR
    with database.connection() as connection:
        connection.execute("update hl.market set is_delisted = true, delisted_seen = first_seen")
    bench.fill()
    assert bench.rows("select interval, ended_at is not null from hl.series order by 1") == [("1d", True), ("1m", True)]
    bench.clock.advance(24 * HOUR)
    assert bench.fill().planned == 0


def test_an_exchange_that_is_down_leaves_every_slot_a_gap_and_says_why(bench: Bench) -> None:
    bench.exchange.error = lambda _: ExchangeUnavailable("connection refused")
    report = bench.fill()
    assert report.failures == ["BTC 1m: connection refused"]
    assert bench.rows("select reason, attempts, upper(slots) - lower(slots) = interval '4999 minutes' from hl.gap") == [
        ("exchange_down", 1, True)
    ]


def test_a_change_of_a_market_is_written_down_once(bench: Bench) -> None:
    bench.exchange.universe = [market("BTC", max_leverage=50), market("NEW")]
    bench.clock.advance(HOUR)
    bench.refresh()
    bench.refresh()
    history = (
        "select coin, attribute, old_value, new_value from hl.market_history join hl.market using (market_id)"
        " order by changed_at, coin, attribute"
    )
    assert bench.rows(history) == [
        ("BTC", "listed", None, "BTC"),
        ("BTC", "tracked_by", None, "list"),
        ("BTC", "max_leverage", "40", "50"),
        ("NEW", "listed", None, "NEW"),
    ]
