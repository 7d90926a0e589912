"""A candle, and how far its value may be trusted.

Prices and volumes stay the exchange's own decimal strings from the wire to the
table, where they become ``numeric``: nothing is rounded on the way.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from hl_pipeline.model.interval import Interval


class Finality(StrEnum):
    """How settled a stored candle is (design: open / provisional / final)."""

    OPEN = "open"
    PROVISIONAL = "provisional"
    FINAL = "final"


class Origin(StrEnum):
    """Where a stored candle came from."""

    REST = "rest"
    STREAM = "stream"
    ARCHIVE = "archive"
    DERIVED = "derived"


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


def finality_at(candle_open_ms: int, interval: Interval, *, asked_ms: int, settle_ms: int) -> Finality:
    """How settled a candle read by REST at ``asked_ms`` is.

    Final only when asked for at least ``settle_ms`` after its close; the
    exchange has no flag of its own (hyperliquid.md section 2).
    """
    close_ms = candle_open_ms + interval.milliseconds
    if asked_ms < close_ms:
        return Finality.OPEN
    return Finality.PROVISIONAL if asked_ms < close_ms + settle_ms else Finality.FINAL
