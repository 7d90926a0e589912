"""Candle intervals and the slots they cut time into.

Time is an integer everywhere inside the pipeline: milliseconds since the Unix
epoch, UTC, as on the exchange's wire. A slot is named by its open time and
covers the half-open span ``[open, open + interval)``. All six intervals divide
a UTC day, so a slot's open time is a multiple of the interval's length.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000

#: The exchange keeps the newest 5000 candles of a series, the open one among them.
WINDOW_SLOTS = 5000


class Interval(StrEnum):
    """The length of a candle, in the exchange's own words."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def milliseconds(self) -> int:
        """Length of one slot in milliseconds."""
        return _MILLISECONDS[self]

    def floor(self, at_ms: int) -> int:
        """Open time of the slot that holds the instant ``at_ms``."""
        return at_ms - at_ms % self.milliseconds

    def ceil(self, at_ms: int) -> int:
        """Open time of the first slot that opens at or after ``at_ms``."""
        return -(-at_ms // self.milliseconds) * self.milliseconds

    def oldest_reachable(self, now_ms: int) -> int:
        """Open time of the oldest slot the exchange still has at ``now_ms`` (hyperliquid.md 2.1)."""
        return self.floor(now_ms) - (WINDOW_SLOTS - 1) * self.milliseconds

    def deadline(self, open_ms: int) -> int:
        """The instant at which the exchange forgets the slot that opens at ``open_ms``."""
        return open_ms + WINDOW_SLOTS * self.milliseconds


_MILLISECONDS = {
    Interval.M1: MINUTE_MS,
    Interval.M5: 5 * MINUTE_MS,
    Interval.M15: 15 * MINUTE_MS,
    Interval.H1: 60 * MINUTE_MS,
    Interval.H4: 240 * MINUTE_MS,
    Interval.D1: 1440 * MINUTE_MS,
}


def to_datetime(at_ms: int) -> datetime:
    """The instant as an aware UTC datetime, exact to the millisecond."""
    return EPOCH + timedelta(milliseconds=at_ms)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch; refuses a datetime without a zone.

    Raises:
        ValueError: ``at`` carries no time zone, so it names no instant.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone: pass an aware datetime, in UTC for choice")
    return (at - EPOCH) // timedelta(milliseconds=1)
