"""The venue's larger candles against their minutes, on tables that the pipeline filled."""

from __future__ import annotations

from typing import Any

import pytest

from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.reconciliation import Reconciled
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.reconciliation import reconcile
from hl_pipeline_tests.collect.test_derivation import HOUR, MINUTE, NOON, Ladder
from hl_pipeline_tests.fakes import market

PARENTS = [interval for interval in Interval if interval is not Interval.M1]
BTC_1H, BTC_1M = SeriesKey("BTC", Interval.H1), SeriesKey("BTC", Interval.M1)
SLOT = NOON - 5 * HOUR


class Bench:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = Ladder(self.clock, markets=[market("BTC"), market("ETH")], history_start_ms=NOON - 60 * HOUR)
        refresh_markets(self.exchange, database, self.clock, coins=["BTC", "ETH"], intervals=list(Interval))

    def fill(self, **options: Any) -> None:
        fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=1), **options)

    def found(self) -> dict[Interval, Reconciled]:
        with self.database.connection() as connection:
            return {row.interval: row for row in reconcile(connection, self.clock.now_ms())}

    def lie(self, key: SeriesKey, open_ms: int, **changes: Any) -> Candle:
        told = self.exchange.truth(key, open_ms)._replace(**changes)
        self.exchange.changed[key, open_ms] = told
        return told


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_an_exchange_that_agrees_with_itself_has_no_mismatch_and_everything_comparable_is_compared(
    bench: Bench,
) -> None:
    bench.fill()
    found = bench.found()
    assert list(found) == PARENTS
    assert {interval: row.differing for interval, row in found.items()} == dict.fromkeys(PARENTS, 0)
    assert {interval: row.compared for interval, row in found.items()} == {
        Interval.M5: 2 * 36 * 12,
        Interval.M15: 2 * 36 * 4,
        Interval.H1: 2 * 36,
        Interval.H4: 2 * 9,
        Interval.D1: 2 * 2,  # all days since the first candle
    }
    assert all(row.series == 2 and row.read >= row.compared and row.derived == 0 for row in found.values())


def test_a_parent_that_differs_is_listed_with_both_values_of_the_field(bench: Bench) -> None:
    truth = bench.exchange.truth(BTC_1H, SLOT)
    bench.lie(BTC_1H, SLOT, trades=truth.trades + 1)
    bench.fill()
    found = bench.found()
    assert {str(interval) for interval, row in found.items() if row.differing} == {"1h"}
    (mismatch,) = found[Interval.H1].mismatches
    assert (mismatch.coin, mismatch.open_ms) == ("BTC", SLOT)
    (difference,) = mismatch.differences
    assert (difference.field, difference.made, difference.venue) == (
        "trades", str(truth.trades), str(truth.trades + 1)
    )  # fmt: skip


@pytest.mark.parametrize(("factor", "differing"), [("1.0000000005", 0), ("1.000000002", 1)])
def test_volume_may_differ_by_a_billionth(bench: Bench, factor: str, differing: int) -> None:
    volume = bench.exchange.truth(BTC_1H, SLOT).volume
    bench.lie(BTC_1H, SLOT, volume=f"{float(volume) * float(factor):.12f}")
    bench.fill()
    assert bench.found()[Interval.H1].differing == differing


def test_a_parent_whose_minutes_are_not_all_settled_is_not_compared(bench: Bench) -> None:
    bench.exchange.hidden.add((BTC_1M, SLOT + 7 * MINUTE))
    bench.fill()
    found = bench.found()
    assert found[Interval.H1].compared == 2 * 36 - 1
    assert found[Interval.M5].compared == 2 * 36 * 12 - 1
    assert not any(row.differing for row in found.values())


def test_what_is_only_derived_is_counted_and_not_compared(bench: Bench) -> None:
    bench.fill()
    bench.clock.advance(HOUR)
    bench.fill()
    found = bench.found()[Interval.M5]
    assert found.derived == 2 * 12
    assert found.compared == found.read


def test_a_derived_candle_that_the_venue_mends_is_seen_for_a_day(bench: Bench) -> None:
    bench.fill()
    wrong = NOON  # derived within the hour, read from the venue by the daily read
    bench.clock.advance(10 * MINUTE)
    bench.fill()
    honest = bench.exchange.truth(SeriesKey("BTC", Interval.M5), wrong)
    told = bench.lie(SeriesKey("BTC", Interval.M5), wrong, high="999")
    window = Span(wrong, wrong + 5 * MINUTE)
    bench.fill(coins=["BTC"], intervals=[Interval.M5], window=window, again=True)
    (seen,) = bench.found()[Interval.M5].seen
    assert [(found.field, found.made, found.venue) for found in seen.differences] == [("high", honest.high, told.high)]
    assert seen.seen_ms == bench.clock.now_ms()
    bench.clock.advance(24 * HOUR)
    assert bench.found()[Interval.M5].seen == []


def test_reading_the_window_again_heals_a_mismatch_when_the_exchange_tells_the_truth(bench: Bench) -> None:
    minute = SLOT + 3 * MINUTE
    bench.fill()
    with bench.database.connection() as connection:  # a minute that was read wrong, and never revised since
        connection.execute(
            b"update hl.candle set trades = trades + 5, volume = volume + 1 from hl.series join hl.market using"
            b" (market_id) where series.series_id = candle.series_id and coin = 'BTC' and interval = '1m'"
            b" and open_time = to_timestamp(%d)" % (minute // 1000)
        )
    assert {str(interval) for interval, row in bench.found().items() if row.differing} == {"5m", "15m", "1h", "4h"}
    bench.clock.advance(1000)
    bench.fill(coins=["BTC"], window=Span(SLOT, SLOT + HOUR), again=True)
    assert not any(row.differing for row in bench.found().values())
    with pytest.raises(ValueError, match="name the window"):
        bench.fill(again=True)


def test_without_minutes_there_is_nothing_to_compare(database: Database) -> None:
    bench = Bench(database)
    with database.connection() as connection:
        connection.execute(b"delete from hl.series where interval = '1m'")
    bench.fill()
    assert bench.found() == {}
