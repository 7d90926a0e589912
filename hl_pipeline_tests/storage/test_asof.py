"""What was known when: readings land as the pipeline lands them, then the past is asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hl_pipeline.model.answer import CandleRequest, Receipt
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage import candles, fetches
from hl_pipeline.storage.asof import candles_asof
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import candle

MINUTE = 60_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
CLOSED = NOON + MINUTE
KEY = SeriesKey("BTC", Interval.M1)
LATENCY_MS = 250
HOUR = Span(NOON, NOON + 60 * MINUTE)

SERIES = """
with made as (
    insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
    values ('BTC', 'perp', 3, true, %(now)s, %(now)s) returning market_id
)
insert into hl.series (market_id, interval, step, tracked_from, known_until)
select market_id, '1m', interval '1 minute', %(now)s, %(now)s from made
returning series_id
"""


class Store:
    """One series; ``read`` lands an answer asked for at an instant."""

    def __init__(self, database: Database) -> None:
        self.database = database
        Partitions(database).ensure(NOON, NOON)
        with database.connection() as connection:
            row = connection.execute(SERIES.encode(), {"now": to_datetime(NOON)}).fetchone()
        assert row is not None
        self.series_id: int = row[0]

    def read(self, asked_ms: int, *rows: Candle) -> None:
        with self.database.connection() as connection:
            request = CandleRequest(KEY, NOON, NOON + 60 * MINUTE)
            fetch_id = fetches.asked(connection, "candleSnapshot", asked_ms, request=request)
            candles.land(
                connection, self.series_id, KEY.interval, rows,
                fetch_id=fetch_id, asked_ms=asked_ms, settle_ms=10_000,
            )  # fmt: skip
            receipt = Receipt("http://fake", 200, float(LATENCY_MS), 21, bytes(32))
            fetches.landed(connection, fetch_id, receipt, rows=len(rows))

    def volumes(self, known_at_ms: int, span: Span = HOUR) -> list[str]:
        with self.database.connection() as connection:
            return [row.volume for row in candles_asof(connection, KEY, span, known_at_ms)]

    def told(self, known_at_ms: int) -> list[tuple[object, ...]]:
        """Volume, finality, source and since when (ms after the close)."""
        statement = (
            "select volume::text, finality, source, known_since - %(closed)s"
            " from hl.candles_asof('BTC', '1m', %(closed)s - interval '1 hour', %(closed)s, %(known)s)"
        )
        times = {"closed": to_datetime(CLOSED), "known": to_datetime(known_at_ms)}
        with self.database.connection() as connection:
            return [
                (*row[:3], row[3] // timedelta(milliseconds=1)) for row in connection.execute(statement.encode(), times)
            ]


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def test_a_candle_is_unknown_until_its_first_reading_arrived(store: Store) -> None:
    store.read(CLOSED + 20_000, candle(NOON, volume="1"))
    arrived = CLOSED + 20_000 + LATENCY_MS
    assert store.volumes(arrived - 1) == []
    assert store.volumes(arrived) == ["1"]
    assert store.told(arrived) == [("1", "final", "rest", 20_000 + LATENCY_MS)]


def test_between_first_reading_and_revision_the_old_value_is_known_and_then_the_new(store: Store) -> None:
    store.read(CLOSED + 20_000, candle(NOON, volume="1"))
    store.read(CLOSED + 80_000, candle(NOON, volume="2"))
    replaced = CLOSED + 80_000 + LATENCY_MS
    assert store.volumes(CLOSED) == []
    assert store.volumes(replaced - 1) == ["1"]
    assert store.volumes(replaced) == ["2"]
    assert store.told(replaced)[0][3] == 80_000 + LATENCY_MS


def test_of_two_revisions_each_value_has_its_time(store: Store) -> None:
    for number in (1, 2, 3):
        store.read(CLOSED + number * 100_000, candle(NOON, volume=str(number)))
    shown = [store.volumes(CLOSED + number * 100_000 + LATENCY_MS) for number in (1, 2, 3)]
    assert shown == [["1"], ["2"], ["3"]]
    assert store.volumes(CLOSED + 300_000 + LATENCY_MS - 1) == ["2"]


def test_a_value_that_came_back_is_told_for_both_its_times(store: Store) -> None:
    for number, volume in enumerate(("1", "2", "1"), start=1):
        store.read(CLOSED + number * 100_000, candle(NOON, volume=volume))
    assert [store.volumes(CLOSED + number * 100_000 + LATENCY_MS) for number in (1, 2, 3)] == [["1"], ["2"], ["1"]]


def test_reading_the_same_value_again_changes_nothing_that_was_known(store: Store) -> None:
    store.read(CLOSED + 20_000, candle(NOON, volume="1"))
    store.read(CLOSED + 80_000, candle(NOON, volume="1"))
    assert store.told(CLOSED + 500_000) == [("1", "final", "rest", 20_000 + LATENCY_MS)]


def test_what_an_open_candle_showed_is_not_made_up(store: Store) -> None:
    store.read(NOON + 30_000, candle(NOON, volume="0.5"))
    assert store.told(NOON + 40_000) == [("0.5", "open", "rest", 30_000 + LATENCY_MS - MINUTE)]
    store.read(CLOSED + 20_000, candle(NOON, volume="1"))
    assert store.volumes(NOON + 40_000) == [], "the value it had then is gone, and the final one was not known"
    assert store.volumes(CLOSED + 21_000) == ["1"]


def test_a_provisional_value_that_was_confirmed_is_known_from_the_confirmation(store: Store) -> None:
    store.read(CLOSED + 2_000, candle(NOON, volume="1"))
    store.read(CLOSED + 20_000, candle(NOON, volume="1"))
    assert store.volumes(CLOSED + 10_000) == []
    assert store.told(CLOSED + 21_000) == [("1", "final", "rest", 20_000 + LATENCY_MS)]


def test_a_revised_value_is_provisional_until_the_reading_that_settled_it(store: Store) -> None:
    store.read(CLOSED + 1_000, candle(NOON, volume="1"))
    store.read(CLOSED + 5_000, candle(NOON, volume="2"))
    store.read(CLOSED + 20_000, candle(NOON, volume="2"))
    assert store.told(CLOSED + 3_000) == [("1", "provisional", "rest", 1_000 + LATENCY_MS)]
    assert store.told(CLOSED + 10_000) == [("2", "provisional", "rest", 5_000 + LATENCY_MS)]
    assert store.told(CLOSED + 30_000) == [("2", "final", "rest", 5_000 + LATENCY_MS)]


def test_the_span_is_half_open_and_ascending(store: Store) -> None:
    store.read(NOON + 10 * MINUTE, *(candle(NOON + minute * MINUTE, volume=str(minute)) for minute in range(1, 6)))
    known = NOON + 11 * MINUTE
    assert store.volumes(known, Span(NOON + 2 * MINUTE, NOON + 4 * MINUTE)) == ["2", "3"]
    assert store.volumes(known) == ["1", "2", "3", "4", "5"]


def test_an_unknown_series_has_no_candle(store: Store) -> None:
    with store.database.connection() as connection:
        assert candles_asof(connection, SeriesKey("NONE", Interval.M1), Span(0, NOON), NOON) == []
