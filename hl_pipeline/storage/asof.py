"""Candles as they were known at an instant in the past, from what is stored and what it replaced."""

from __future__ import annotations

from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def candles_asof(connection: Connection, key: SeriesKey, span: Span, known_at_ms: int) -> list[Candle]:
    """The series' candles in ``span`` (half-open, ms UTC) as known at ``known_at_ms``, ascending, as exact decimals.

    What is not returned for a time when a candle was still open, and why, is
    written at the head of ``R__candles_asof.sql``. Empty for an unknown series.
    """
    rows = connection.execute(
        query("candles_asof"),
        {
            "coin": key.coin,
            "interval": str(key.interval),
            "starts": to_datetime(span.start_ms),
            "ends": to_datetime(span.end_ms),
            "known_at": to_datetime(known_at_ms),
        },
    )
    return [Candle(*row) for row in rows]
