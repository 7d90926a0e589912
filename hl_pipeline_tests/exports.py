"""A database with three months of candles and quotes, two of them old enough to go; and what is compared of it."""

from __future__ import annotations

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.month import months_in
from hl_pipeline.model.retention import DAY_MS, Bounds
from hl_pipeline.model.span import Span
from hl_pipeline.storage import retention
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.retention import MonthContent
from hl_pipeline_tests.stored_world import NOW_MS as SHORTLY_AFTER_MS
from hl_pipeline_tests.stored_world import fill, series_id

#: A full hour, so that the first minute of the two days is whole.
NOW_MS = Interval.H1.floor(SHORTLY_AFTER_MS)
#: The world ends on 2 March 2026; 230 days later all of it is old.
LATER_MS = NOW_MS + 230 * DAY_MS
#: Of which January and February hold candles of 1h, and 1m of two days of March.
JANUARY, FEBRUARY, MARCH = months_in(Span(NOW_MS - 35 * DAY_MS, NOW_MS))
HALF_A_YEAR = Bounds(contexts_ms=180 * DAY_MS)
HOURS = Bounds(candles={Interval.H1: 180 * DAY_MS})
ALL = Bounds(candles=dict.fromkeys(Interval, 180 * DAY_MS), contexts_ms=180 * DAY_MS)

QUOTES = """
insert into hl.market_context (
    market_id, seen_at, mark_price, oracle_price, mid_price, funding, open_interest, day_notional_volume, fetch_id
)
select market_id, at, 100.0500, null, 100.06, -0.0000125, 12.50, 216000.000030000000000000004, 1
from hl.market
cross join generate_series(%(starts)s::timestamptz, %(ends)s::timestamptz, interval '6 hours') as at
"""
#: Digits as the exchange sends them: float noise, zeros at the end, none at all.
NOISE = """
update hl.candle set volume = '0.000030000000000000004', close = open, high = greatest(high, open) where open_time = %s
"""
SNAPSHOT = """
select coin, interval, open_time, open::text, high::text, low::text, close::text, volume::text, trades, finality,
    source, fetch_id
from hl.candles order by coin, interval, open_time
"""


def filled(database: Database, coins: list[str] | None = None) -> None:
    """Thirty days of candles up to 2 March 2026, and quotes every six hours."""
    with database.connection() as connection:
        fill(connection, coins or ["BTC", "ETH"], now_ms=NOW_MS)
        connection.execute(NOISE, (to_datetime(FEBRUARY.start_ms + 5 * DAY_MS),))
        connection.execute(QUOTES, {"starts": to_datetime(NOW_MS - 35 * DAY_MS), "ends": to_datetime(NOW_MS - DAY_MS)})


def candles(connection: Connection) -> list[tuple[object, ...]]:
    """Every candle to the last digit."""
    return connection.execute(SNAPSHOT.encode()).fetchall()


def count(connection: Connection, interval: Interval, month: Span) -> int:
    """How many candles of an interval a month holds."""
    held = retention.content(connection, "candle", month, [interval])
    return held[0].rows if held else 0


def contents(connection: Connection, month: Span) -> list[MonthContent]:
    """What a month holds of all intervals."""
    return retention.content(connection, "candle", month, list(Interval))


def late_candle(connection: Connection, coin: str, interval: Interval, open_ms: int) -> None:
    """Somebody stores a candle of a slot that has none yet, and enters it into the ledger."""
    number = series_id(connection, coin, interval)
    connection.execute(
        "insert into hl.candle values (%s, %s, 1.5, 2, 1, 1.5, 3, 4, 1, 'r', 'f')", (number, to_datetime(open_ms))
    )
    connection.execute(
        "update hl.coverage set final = final + tstzmultirange(tstzrange(%(at)s, %(until)s)) "
        "where series_id = %(series)s and month = date_trunc('month', %(at)s at time zone 'UTC')::date",
        {"at": to_datetime(open_ms), "until": to_datetime(open_ms + interval.milliseconds), "series": number},
    )
