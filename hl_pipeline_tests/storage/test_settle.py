"""What stored candles say about settling: ages of values that did not last, by the period in which they closed."""

from __future__ import annotations

from hl_pipeline.model.answer import CandleRequest, Receipt
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.settle import Changes
from hl_pipeline.storage import candles, fetches
from hl_pipeline.storage import settle as settle_evidence
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import candle

MINUTE = 60_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z

SERIES = """
with made as (
    insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
    values (%(coin)s, 'perp', 3, %(tracked)s, %(now)s, %(now)s) returning market_id
)
insert into hl.series (market_id, interval, step, tracked_from, known_until)
select market_id, name, step, %(now)s, %(now)s
from made
cross join (values ('1m', interval '1 minute'), ('5m', interval '5 minutes')) as length (name, step)
returning interval, series_id
"""


class Store:
    """A market with two series; ``read`` lands an answer asked for at an instant."""

    def __init__(self, database: Database, coin: str = "BTC", *, tracked: bool = True) -> None:
        self.database, self.coin = database, coin
        Partitions(database).ensure(NOON - 60 * MINUTE, NOON)
        with database.connection() as connection:
            values = {"coin": coin, "tracked": tracked, "now": to_datetime(NOON)}
            self.series_ids = dict(connection.execute(SERIES.encode(), values).fetchall())

    def read(self, asked_ms: int, *rows: Candle, interval: Interval = Interval.M1) -> None:
        with self.database.connection() as connection:
            request = CandleRequest(SeriesKey(self.coin, interval), NOON - 60 * MINUTE, NOON)
            fetch_id = fetches.asked(connection, "candleSnapshot", asked_ms, request=request)
            candles.land(
                connection, self.series_ids[str(interval)], interval, rows,
                fetch_id=fetch_id, asked_ms=asked_ms, settle_ms=10_000,
            )  # fmt: skip
            fetches.landed(connection, fetch_id, Receipt("http://fake", 200, 1.0, 21, bytes(32)), rows=len(rows))

    def changes(self, now_ms: int = NOON) -> list[Changes]:
        with self.database.connection() as connection:
            return settle_evidence.changes(connection, now_ms)


def closing(minutes_ago: int, volume: str = "1") -> Candle:
    """A candle that closed so many minutes before noon."""
    return candle(NOON - (minutes_ago + 1) * MINUTE, volume=volume)


def test_the_age_is_that_of_the_read_whose_value_did_not_last(database: Database) -> None:
    store = Store(database)
    store.read(NOON - 5 * MINUTE + 12_000, closing(5))
    store.read(NOON - 4 * MINUTE + 12_000, closing(5, volume="2"), closing(4))
    assert store.changes() == [Changes(2, (12_000,))]


def test_a_value_read_too_early_to_be_trusted_tells_its_age_too(database: Database) -> None:
    store = Store(database)
    store.read(NOON - 5 * MINUTE + 4_000, closing(5))
    store.read(NOON - 5 * MINUTE + 30_000, closing(5, volume="2"))
    store.read(NOON - 4 * MINUTE, closing(5, volume="3"))
    (found,) = store.changes()
    assert (found.closed, sorted(found.ages_ms)) == (1, [4_000, 30_000])


def test_candles_count_in_the_ten_minutes_in_which_they_closed_for_half_an_hour(database: Database) -> None:
    store = Store(database)
    store.read(NOON, *(closing(ago) for ago in (31, 30, 29, 20, 19, 10, 9, 0)))
    assert [found.closed for found in store.changes()] == [2, 2, 2]
    store.read(NOON + 1, closing(31, volume="2"), closing(29, volume="2"))
    assert [len(found.ages_ms) for found in store.changes(NOON + 1)] == [0, 0, 1]


def test_an_open_candle_an_unchanged_one_and_a_larger_one_tell_nothing(database: Database) -> None:
    store = Store(database)
    store.read(NOON - 30_000, closing(0))
    store.read(NOON, closing(0, volume="2"))
    store.read(NOON + 60_000, closing(0, volume="2"))
    five = candle(NOON - 5 * MINUTE)
    store.read(NOON + 20_000, five, interval=Interval.M5)
    store.read(NOON + 80_000, five._replace(volume="9"), interval=Interval.M5)
    assert store.changes(NOON + 80_000) == [Changes(1, ())]


def test_who_is_not_collected_tells_nothing(database: Database) -> None:
    store = Store(database, "OLD", tracked=False)
    store.read(NOON - 5 * MINUTE + 12_000, closing(5))
    assert store.changes() == []
