"""Rows that the exchange showed once and shows no more: the candle is kept, its absence is remembered."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval, to_datetime
from hl_pipeline.model.span import SpanSet
from hl_pipeline.model.vitals import VanishedRow
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def compare(
    connection: Connection,
    series_id: int,
    candles: Sequence[Candle],
    interval: Interval,
    *,
    fetch_id: int,
    asked_ms: int,
    is_whole: bool,
) -> None:
    """Note which stored final rows the answer's ``candles`` (ascending) lack, and which they show again.

    Judged strictly between the first and the last row: an answer that was cut
    short or lags says nothing beyond. Of an answer that is not ``is_whole``
    (rows of it were rejected) only what it shows counts.
    """
    if not candles:
        return
    opens = [candle.open_ms for candle in candles]
    holes = SpanSet.single(opens[0], opens[-1]) - SpanSet.from_slots(opens, interval.milliseconds)
    values = {
        "series_id": series_id,
        "fetch_id": fetch_id,
        "asked_at": to_datetime(asked_ms),
        "first": to_datetime(opens[0]),
        "last": to_datetime(opens[-1]),
        "holes": Multirange(Range(to_datetime(span.start_ms), to_datetime(span.end_ms)) for span in holes),
    }
    if holes and is_whole:
        connection.execute(query("vanished_note"), values)
    connection.execute(query("vanished_return"), values)


def vanished(connection: Connection, now_ms: int) -> list[VanishedRow]:
    """The rows that are gone and not accepted, newest absence first; those that the exchange forgot by now apart."""
    rows = connection.execute(query("vanished_open"), {"now": to_datetime(now_ms), "window_slots": WINDOW_SLOTS})
    return [VanishedRow(coin, Interval(interval), *rest) for coin, interval, *rest in rows]
