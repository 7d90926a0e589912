"""A candle and the series it belongs to.

Prices and volumes stay the exchange's own decimal strings from the wire to the
table, where they become ``numeric``: nothing is rounded on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from hl_pipeline.model.interval import Interval


class Candle(NamedTuple):
    """One row of a series.

    ``open_ms`` is on the interval's grid; o h l c are quote-currency prices,
    ``volume`` is in base units, ``trades`` counts trades. ``trades == 0`` with
    flat prices is a quiet slot; with moving prices it is synthetic (the
    exchange's pre-launch rows).
    """

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    trades: int


class SeriesKey(NamedTuple):
    """A series is a market at an interval."""

    coin: str
    interval: Interval
