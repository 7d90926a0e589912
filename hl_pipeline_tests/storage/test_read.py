"""Reading with made-up candles, and without: proven empty, unknown and lost slots, each in its way."""

from __future__ import annotations

import psycopg
import pytest

from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.read import Fill, ReadCandle, candles
from hl_pipeline_tests.fakes import FakeExchange, market, series

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
EMPTY = [NOON - 30 * MINUTE, NOON - 29 * MINUTE]
LATER = NOON + 2 * HOUR
KEY = series()


class Bench:
    """Two minutes are proven empty; the two after them, one row apart, are a gap."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = FakeExchange(self.clock, markets=[market("BTC")], history_start_ms=NOON - 3 * HOUR)
        refresh_markets(self.exchange, database, self.clock, coins=["BTC"], intervals=[Interval.M1])
        self.exchange.hidden |= {(KEY, at) for at in EMPTY}
        self.fill()
        self.clock.set(LATER + 20_000)
        self.fill()

    def fill(self) -> None:
        fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=1))

    def read(self, start_ms: int, end_ms: int, how: Fill = Fill.NONE, key: SeriesKey = KEY) -> list[ReadCandle]:
        with self.database.connection() as connection:
            return candles(connection, key, Span(start_ms, end_ms), fill=how)

    def minutes(self, start_ms: int, end_ms: int, how: Fill) -> list[tuple[int, str | None]]:
        """Minutes since the start, and why the candle was made up."""
        return [((row.candle.open_ms - start_ms) // MINUTE, row.why) for row in self.read(start_ms, end_ms, how)]

    def make_gap(self, *opens: int) -> None:
        """As if these minutes had never been read: out of table and ledger."""
        with self.database.connection() as connection:
            for at in opens:
                values = {"starts": to_datetime(at), "ends": to_datetime(at + MINUTE)}
                connection.execute(b"delete from hl.candle where open_time = %(starts)s", values)
                connection.execute(
                    b"update hl.coverage set final = final - tstzmultirange(tstzrange(%(starts)s, %(ends)s)),"
                    b" lost = lost - tstzmultirange(tstzrange(%(starts)s, %(ends)s))",
                    values,
                )


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_without_being_asked_it_makes_nothing_up(bench: Bench) -> None:
    assert [row.candle.open_ms for row in bench.read(NOON - 32 * MINUTE, NOON - 26 * MINUTE)] == [
        NOON - minute * MINUTE for minute in (32, 31, 28, 27)
    ]
    assert not any(row.filled for row in bench.read(NOON - HOUR, NOON))


def test_a_proven_empty_slot_is_flat_at_the_close_before_with_nothing_traded(bench: Bench) -> None:
    found = bench.read(NOON - 31 * MINUTE, NOON - 28 * MINUTE, Fill.EMPTY)
    stored, *made = found
    close = bench.exchange.truth(KEY, NOON - 31 * MINUTE).close
    assert (stored.filled, stored.finality, stored.source, stored.why) == (False, "final", "rest", None)
    assert [row.candle for row in made] == [(at, close, close, close, close, "0", 0) for at in EMPTY]
    assert [row[1:] for row in made] == [(None, None, True, "empty")] * 2


def test_the_close_before_may_lie_before_the_span(bench: Bench) -> None:
    (only,) = bench.read(EMPTY[1], EMPTY[1] + MINUTE, Fill.EMPTY)
    assert (only.candle.open_ms, only.filled) == (EMPTY[1], True)
    assert only.candle.close == bench.exchange.truth(KEY, NOON - 31 * MINUTE).close


def test_a_gap_is_filled_only_when_asked_for_and_says_what_it_is(bench: Bench) -> None:
    gap = NOON - 20 * MINUTE
    bench.make_gap(gap)
    start, end = gap - 2 * MINUTE, gap + 2 * MINUTE
    assert bench.minutes(start, end, Fill.EMPTY) == [(0, None), (1, None), (3, None)]
    assert bench.minutes(start, end, Fill.ALL) == [(0, None), (1, None), (2, "gap"), (3, None)]


def test_behind_a_gap_a_proven_empty_slot_has_no_known_price(bench: Bench) -> None:
    bench.make_gap(EMPTY[0] - MINUTE)
    start = EMPTY[0] - 2 * MINUTE
    assert bench.minutes(start, start + 5 * MINUTE, Fill.EMPTY) == [(0, None), (4, None)]
    assert bench.minutes(start, start + 5 * MINUTE, Fill.ALL) == [
        (0, None), (1, "gap"), (2, "empty"), (3, "empty"), (4, None)
    ]  # fmt: skip


def test_a_lost_slot_is_filled_only_when_asked_for_and_named_lost(bench: Bench) -> None:
    bench.clock.advance(5 * DAY)
    bench.fill()
    start, end = LATER, LATER + 4 * MINUTE  # the first was open when it was last read
    assert bench.minutes(start, end, Fill.EMPTY) == [(0, None)]
    assert bench.read(start, end)[0].finality == "open"
    assert bench.minutes(start, end, Fill.ALL) == [(0, None), (1, "lost"), (2, "lost"), (3, "lost")]


def test_nothing_is_made_up_before_the_first_row_nor_for_the_future(bench: Bench) -> None:
    first = NOON - 3 * HOUR
    assert bench.minutes(first - 3 * MINUTE, first + 2 * MINUTE, Fill.ALL) == [(3, None), (4, None)]
    open_ms = Interval.M1.floor(bench.clock.now_ms())
    found = bench.read(open_ms - MINUTE, open_ms + 10 * MINUTE, Fill.ALL)
    assert [(row.candle.open_ms - open_ms, row.finality) for row in found] == [(-MINUTE, "final"), (0, "open")]


def test_after_the_end_of_a_series_nothing_is_made_up(bench: Bench) -> None:
    with bench.database.connection() as connection:
        ended = to_datetime(EMPTY[1])
        connection.execute(b"update hl.series set ended_at = %s", [ended])
        connection.execute(b"delete from hl.candle where open_time >= %s", [ended])
    assert bench.minutes(EMPTY[0] - MINUTE, NOON, Fill.ALL) == [(0, None), (1, "empty")]


def test_a_span_off_the_grid_holds_the_slots_that_open_in_it(bench: Bench) -> None:
    found = bench.read(EMPTY[0] - 1, EMPTY[1] + 1, Fill.EMPTY)
    assert [row.candle.open_ms for row in found] == EMPTY


def test_an_unknown_series_has_no_candle(bench: Bench) -> None:
    assert bench.read(0, NOON, Fill.ALL, series("NONE")) == []


def test_another_word_for_filling_is_refused(bench: Bench) -> None:
    with (
        bench.database.connection() as connection,
        pytest.raises(psycopg.errors.RaiseException, match="fill = zero is no way to fill"),
    ):
        connection.execute(b"select * from hl.candles_filled('BTC', '1m', now(), now(), 'zero')")
