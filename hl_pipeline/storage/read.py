"""Candles for readers: what is stored, and on request flat candles where nothing is. Nothing made up is ever stored."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class Fill(StrEnum):
    """Which slots without a row get a flat candle at the close before: none, those proven empty, or all of them."""

    NONE = "none"
    EMPTY = "empty"
    ALL = "all"


class ReadCandle(NamedTuple):
    """A candle as read. Stored ones carry ``finality`` and ``source``; a ``filled`` one says ``why`` instead.

    ``why``: empty (proven), lost, exported (in a file, not here any more), or gap (not known yet).
    """

    candle: Candle
    finality: str | None
    source: str | None
    filled: bool
    why: str | None


def candles(connection: Connection, key: SeriesKey, span: Span, *, fill: Fill = Fill.NONE) -> list[ReadCandle]:
    """The series' candles that open in ``span`` (half-open, ms UTC), ascending, as exact decimals.

    A slot that may yet turn out to hold trades is only filled with ``Fill.ALL``,
    nor is one behind such a slot: the price there is unknown. What else is never
    filled stands at the head of ``R__candles_filled.sql``. Empty for an unknown series.
    """
    rows = connection.execute(
        query("candles_filled"),
        {
            "coin": key.coin,
            "interval": str(key.interval),
            "starts": to_datetime(span.start_ms),
            "ends": to_datetime(span.end_ms),
            "fill": str(fill),
        },
    )
    return [ReadCandle(Candle(*row[:7]), *row[7:]) for row in rows]
