"""The newer trade count wins, REST wins over the stream, and what was watched waits to be confirmed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.failure import AlreadyRunning
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.model.ledger import Gap, GapReason, SeriesState
from hl_pipeline.model.live import LiveCandle
from hl_pipeline.model.span import Span
from hl_pipeline.storage import candles, coverage, fetches, markets, series, stream
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.stream import StreamLanded, Watched
from hl_pipeline_tests.fakes import candle, context

#: 2026-07-26T12:00:00Z
T0 = 1_785_067_200_000
SETTLE = 10_000
HOUR = 60 * MINUTE_MS
TRACKED_FROM = Interval.D1.floor(T0) - 48 * HOUR


@pytest.fixture
def btc(database: Database) -> dict[Interval, int]:
    """The series ids of one tracked market, all known up to T0."""
    candles.Partitions(database).ensure(T0 - HOUR, T0 + HOUR)
    with database.connection() as connection:
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)"
            " values ('BTC', 'perp', 2, true, now(), now())"
        )
        series.ensure(connection, tuple(Interval), T0)
        connection.execute(
            "update hl.series set tracked_from = %(from)s, known_until = date_bin(step, %(known)s, 'epoch')",
            {"from": to_datetime(TRACKED_FROM), "known": to_datetime(T0)},
        )
        connection.execute(
            "insert into hl.coverage (series_id, month, lost) select series_id, '2026-07-01',"
            " tstzmultirange(tstzrange(tracked_from, known_until)) from hl.series"
        )
        return {found.interval: found.series_id for found in stream.series(connection)}


def live(minute: int, trades: int, *, is_closed: bool = True, price: str = "100") -> LiveCandle:
    return LiveCandle("BTC", candle(T0 + minute * MINUTE_MS, price, trades=trades), is_closed)


def land(database: Database, btc: dict[Interval, int], *batch: LiveCandle) -> StreamLanded:
    with database.connection() as connection:
        fetch_id = fetches.asked(connection, stream.REQUEST_TYPE, T0)
        return stream.land(connection, batch, {"BTC": btc[Interval.M1]}, fetch_id=fetch_id)


def land_rest(
    database: Database, btc: dict[Interval, int], row: Candle, asked_ms: int, fetch_id: int | None = None
) -> int:
    with database.connection() as connection:
        asked = fetch_id or fetches.asked(connection, "candleSnapshot", asked_ms)
        candles.land(
            connection, btc[Interval.M1], Interval.M1, [row], fetch_id=asked, asked_ms=asked_ms, settle_ms=SETTLE
        )
        return asked


def stored(database: Database, interval: Interval = Interval.M1) -> list[tuple[int, str, int, str, str]]:
    with database.connection() as connection:
        return [
            ((row[0] - T0) // MINUTE_MS, *row[1:])
            for row in connection.execute(
                "select hl.epoch_ms(open_time), close::text, trades, source, finality from hl.candles"
                " where interval = %s order by open_time",
                (str(interval),),
            )
        ]


def state(connection: Connection, series_id: int) -> SeriesState:
    return series.load_one(connection, series_id)


def test_an_open_candle_becomes_provisional_when_it_closes(database: Database, btc: dict[Interval, int]) -> None:
    assert land(database, btc, live(0, 3, is_closed=False)) == (1, 0)
    assert stored(database) == [(0, "100", 3, "stream", "open")]
    assert land(database, btc, live(0, 5, price="101")) == (1, 1)
    assert stored(database) == [(0, "101", 5, "stream", "provisional")]


@pytest.mark.parametrize("batch", [[live(0, 4)], [live(0, 5)], [live(0, 4, is_closed=False)]])
def test_fewer_or_as_many_trades_change_nothing(
    database: Database, btc: dict[Interval, int], batch: Sequence[LiveCandle]
) -> None:
    land(database, btc, live(0, 5, price="101"))
    assert land(database, btc, *batch) == (0, 0)
    assert stored(database) == [(0, "101", 5, "stream", "provisional")]


def test_a_straggler_with_more_trades_replaces_a_provisional_candle(
    database: Database, btc: dict[Interval, int]
) -> None:
    land(database, btc, live(0, 5))
    assert land(database, btc, live(0, 6, price="102")) == (1, 1)
    assert stored(database) == [(0, "102", 6, "stream", "provisional")]


def test_what_rest_read_after_the_close_is_never_replaced_by_the_stream(
    database: Database, btc: dict[Interval, int]
) -> None:
    land_rest(database, btc, candle(T0, "100", trades=5), T0 + MINUTE_MS + 1)
    land_rest(database, btc, candle(T0 + MINUTE_MS, "100", trades=5), T0 + 5 * MINUTE_MS)
    assert land(database, btc, live(0, 99, price="999"), live(1, 99, price="999")) == (0, 0)
    assert stored(database) == [(0, "100", 5, "rest", "provisional"), (1, "100", 5, "rest", "final")]


def test_an_open_candle_of_rest_is_carried_on_by_the_stream(database: Database, btc: dict[Interval, int]) -> None:
    land_rest(database, btc, candle(T0, "100", trades=5), T0 + 1_000)
    land(database, btc, live(0, 7, price="101", is_closed=False))
    assert stored(database) == [(0, "101", 7, "stream", "open")]


def test_an_open_candle_of_rest_that_counts_more_trades_keeps_its_value_when_it_closes(
    database: Database, btc: dict[Interval, int]
) -> None:
    land_rest(database, btc, candle(T0, "100", trades=9), T0 + 59_000)
    land(database, btc, live(0, 7, price="101"))
    assert stored(database) == [(0, "100", 9, "rest", "provisional")]


def test_rest_replaces_the_streams_candle_even_when_it_was_asked_before_the_stream_wrote(
    database: Database, btc: dict[Interval, int]
) -> None:
    with database.connection() as connection:
        fetch_id = fetches.asked(connection, "candleSnapshot", T0 + 5 * MINUTE_MS)
    land(database, btc, live(0, 6, price="101"))
    land_rest(database, btc, candle(T0, "100", trades=7), T0 + 5 * MINUTE_MS, fetch_id)
    assert stored(database) == [(0, "100", 7, "rest", "final")]
    with database.connection() as connection:
        kept = connection.execute("select close::text, trades, source::text, finality::text from hl.candle_revision")
        assert kept.fetchall() == [("101", 6, "s", "p")]


def test_an_open_candle_that_rest_read_earlier_does_not_turn_the_stream_back(
    database: Database, btc: dict[Interval, int]
) -> None:
    land(database, btc, live(0, 6, price="101", is_closed=False))
    land_rest(database, btc, candle(T0, "100", trades=5), T0 + 30_000)
    assert stored(database) == [(0, "101", 6, "stream", "open")]
    land_rest(database, btc, candle(T0, "102", trades=8), T0 + 40_000)
    assert stored(database) == [(0, "102", 8, "rest", "open")]


def test_watched_minutes_are_provisional_in_the_ledger_until_their_confirmation(
    database: Database, btc: dict[Interval, int]
) -> None:
    base = btc[Interval.M1]
    with database.connection() as connection:
        assert stream.watch(connection, [Watched(base, T0 + MINUTE_MS, T0 + HOUR)], T0) == 1
        assert stream.watch(connection, [Watched(base, T0 + 2 * MINUTE_MS, T0 + HOUR)], T0) == 1
        assert stream.watch(connection, [Watched(base, T0 + 3 * MINUTE_MS, T0 + 2 * HOUR)], T0) == 1
        found = state(connection, base)
    assert found.known_until_ms == found.streamed_until_ms == T0 + 3 * MINUTE_MS
    assert found.gaps == (
        Gap(Span(T0, T0 + 2 * MINUTE_MS), GapReason.PROVISIONAL, T0 + HOUR),
        Gap(Span(T0 + 2 * MINUTE_MS, T0 + 3 * MINUTE_MS), GapReason.PROVISIONAL, T0 + 2 * HOUR),
    )
    with database.connection() as connection:
        assert series.violations(connection, T0) == []


def test_what_waits_to_be_confirmed_is_provisional_and_a_gap_once_that_is_overdue(
    database: Database, btc: dict[Interval, int]
) -> None:
    with database.connection() as connection:
        stream.watch(connection, [Watched(btc[Interval.M1], T0 + 5 * MINUTE_MS, T0 + HOUR)], T0)
        due_ms = T0 + 5 * MINUTE_MS + SETTLE
        waiting, *_ = coverage.by_interval(connection, due_ms, SETTLE)
        assert (waiting.provisional, waiting.gap) == (5, 0)
        connection.execute("update hl.gap set next_try = %s", (to_datetime(due_ms),))
        overdue, *_ = coverage.by_interval(connection, due_ms, SETTLE)
    assert (overdue.provisional, overdue.gap) == (0, 5)


def test_minutes_before_the_watch_began_stay_rests_to_read(database: Database, btc: dict[Interval, int]) -> None:
    base = btc[Interval.M1]
    with database.connection() as connection:
        assert stream.watch(connection, [Watched(base, T0 + 9 * MINUTE_MS, T0 + HOUR)], T0 + MINUTE_MS) == 0
        found = state(connection, base)
    assert (found.known_until_ms, found.streamed_until_ms, found.gaps) == (T0, None, ())


def test_a_larger_series_follows_its_markets_minutes(database: Database, btc: dict[Interval, int]) -> None:
    base, five = btc[Interval.M1], btc[Interval.M5]
    ends = T0 + 5 * MINUTE_MS
    with database.connection() as connection:
        assert stream.watch(connection, [Watched(five, ends, T0 + HOUR)], T0) == 0
        stream.watch(connection, [Watched(base, ends, T0 + HOUR)], T0)
        assert stream.watch(connection, [Watched(five, ends, T0 + 2 * HOUR)], T0) == 1
        found = state(connection, five)
    assert found.gaps == (Gap(Span(T0, ends), GapReason.PROVISIONAL, T0 + 2 * HOUR),)
    assert found.streamed_until_ms == ends


def test_who_lands_an_answer_at_this_moment_is_left_for_the_next_time(
    database: Database, btc: dict[Interval, int]
) -> None:
    base = btc[Interval.M1]
    with database.connection() as landing, database.connection() as connection:
        series.lock(landing, base)
        assert stream.watch(connection, [Watched(base, T0 + MINUTE_MS, T0 + HOUR)], T0) == 0


def test_the_minutes_make_the_larger_candles_provisional_ones_where_the_slot_is_over(
    database: Database, btc: dict[Interval, int]
) -> None:
    base = btc[Interval.M1]
    land(database, btc, *(live(minute, minute + 1, price=f"{100 + minute}") for minute in (0, 1, 3)))
    with database.connection() as connection:
        stream.watch(connection, [Watched(base, T0 + 5 * MINUTE_MS, T0 + HOUR)], T0)
        made = stream.derive(connection, [base], T0 + 5 * MINUTE_MS, fetch_id=1)
    assert made == 5
    assert stored(database, Interval.M5) == [(0, "103", 7, "derived", "provisional")]
    assert stored(database, Interval.H1) == [(0, "103", 7, "derived", "open")]


def test_no_larger_candle_closes_over_a_minute_that_nobody_watched(
    database: Database, btc: dict[Interval, int]
) -> None:
    land(database, btc, live(4, 5))
    with database.connection() as connection:
        stream.derive(connection, [btc[Interval.M1]], T0 + 5 * MINUTE_MS, fetch_id=1)
    assert stored(database, Interval.M5) == []
    assert stored(database, Interval.H1) == [(0, "100", 5, "derived", "open")]


def test_there_is_one_stream_an_installation(database: Database) -> None:
    with (
        stream.only_one(database),
        pytest.raises(AlreadyRunning, match="another process already streams"),
        stream.only_one(database),
    ):
        pass
    with stream.only_one(database):
        pass


@pytest.mark.parametrize(
    ("kind", "ago_ms", "streamed"),
    [("candle stream", 60_000, 1), ("candle stream", 121_000, 0), ("metaAndAssetCtxs", 60_000, 0)],
)
def test_quotes_need_not_be_asked_for_while_the_stream_brings_them(
    database: Database, btc: dict[Interval, int], kind: str, ago_ms: int, streamed: int
) -> None:
    candles.Partitions(database, "market_context").ensure(T0 - HOUR, T0)
    with database.connection() as connection:
        assert btc
        assert markets.streamed_contexts(connection, T0) == 0
        fetch_id = fetches.asked(connection, kind, T0 - ago_ms)
        markets.insert_contexts(connection, [context("BTC")], T0 - ago_ms, fetch_id=fetch_id)
        assert markets.streamed_contexts(connection, T0) == streamed
        connection.execute(
            "insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)"
            " values ('SILENT', 'perp', 2, true, now(), now())"
        )
        assert markets.streamed_contexts(connection, T0) == 0
