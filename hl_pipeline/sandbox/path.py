"""How a minute's candle forms: its trades in order, and the candle after each of them.

The truth knows candles, not trades. From a final candle this derives the same
trades every time: when each came, at which price and of what size, so that the
last one leaves exactly the final candle. REST's open candle and the
WebSocket's frames both read it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox import noise

#: One minute in this many has its last trade within the last ``LATE_MS`` of it (hyperliquid.md 2.2, point 6).
LATE_ONE_IN = 7
LATE_MS = 35
_MOST_TRADES = 1 << 14


class Numbers(NamedTuple):
    """One candle's numbers, in the units of ``truth.Columns``."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    dust: int
    trades: int


def add(one: Numbers | None, two: Numbers | None) -> Numbers | None:
    """The candle of two spans, the earlier first; ``None`` is a span without a trade."""
    if one is None or two is None:
        return one or two
    return Numbers(
        one.open,
        max(one.high, two.high),
        min(one.low, two.low),
        two.close,
        one.volume + two.volume,
        one.dust + two.dust,
        one.trades + two.trades,
    )


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute with trades: what it ends as, and when each trade comes (ms since its start, ascending)."""

    final: Numbers
    times: list[int]

    def count_at(self, elapsed_ms: int) -> int:
        """How many trades have come after ``elapsed_ms``, those of that very millisecond included."""
        return bisect_right(self.times, elapsed_ms)

    def after(self, count: int) -> Numbers:
        """The candle after the first ``count`` trades, at least one; after all of them it is the final one.

        The open never moves, high and low only widen, volume and trades only grow.
        """
        final = self.final
        if count >= final.trades:
            return final
        first, second = self._turns()
        price = self.price(count)
        high, low = max(final.open, price), min(final.open, price)
        if count >= first:
            high, low = (final.high, low) if self._rises() else (high, final.low)
        if count >= second:
            high, low = final.high, final.low
        return Numbers(final.open, high, low, price, self._volume(count), 0, count)

    def price(self, number: int) -> int:
        """The price of trade ``number``, the first being 1."""
        final = self.final
        first, second = self._turns()
        if number >= final.trades or number > second:
            return final.close
        if number == second:
            return final.low if self._rises() else final.high
        if number == first:
            return final.high if self._rises() else final.low
        return final.open

    def size(self, number: int) -> int:
        """The size of trade ``number``; the sizes add up to the minute's volume."""
        return self._volume(number) - self._volume(number - 1)

    def _turns(self) -> tuple[int, int]:
        """The trades that make the minute's first and second extreme."""
        rest = self.final.trades - 1
        return 1 + max(1, rest // 3), 1 + max(1, 2 * rest // 3)

    def _rises(self) -> bool:
        """Whether the high comes before the low; the numbers' last bits decide."""
        return bool((self.final.high + self.final.low + self.final.volume) % 2)

    def _volume(self, count: int) -> int:
        return self.final.volume * min(count, self.final.trades) // self.final.trades


def minute_of(final: Numbers, key: int, open_ms: int) -> Minute | None:
    """The minute that ends as ``final``; ``None`` without trades. ``key`` is the stream its times are drawn from."""
    trades = final.trades
    if trades <= 0:
        return None
    number = open_ms // MINUTE_MS
    index = number * _MOST_TRADES + np.arange(trades, dtype=np.int64)
    times = ((np.arange(trades) + noise.uniforms(key, index)) * (MINUTE_MS / trades)).astype(np.int64).tolist()
    draw = noise.stream_key(key, number)
    if trades > 1 and draw % LATE_ONE_IN == 0:
        times[-1] = max(times[-1], MINUTE_MS - 1 - draw // LATE_ONE_IN % LATE_MS)
    return Minute(final, times)
