"""The candles that a live stream shows, between their arrival and their landing.

A frame holds a whole candle as it stands: all that matters of a minute is its newest
frame. So what waits is bounded by markets and minutes, however many frames come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import MINUTE_MS, Interval

#: A minute is remembered so long after it was landed as closed: a straggling frame must not pass for a new candle.
_KEEP_MS = 2 * MINUTE_MS


class LiveCandle(NamedTuple):
    """A 1m candle of the stream; ``is_closed`` when a later one was seen or the clock has passed its end."""

    coin: str
    candle: Candle
    is_closed: bool


@dataclass(slots=True)
class _Slot:
    candle: Candle
    is_changed: bool = True
    is_closed: bool = False
    landed_ms: int = 0


class LiveBuffer:
    """What waits to be landed: of each minute of each market the frame with the most trades.

    A closed candle is due ``grace_ms`` after its end, or once a later one was seen; an open one that changed, every
    ``open_every_ms``. At most ``most`` minutes wait: beyond that the oldest are dropped and counted, and REST reads
    them. Not for several threads.
    """

    def __init__(self, *, grace_ms: int = 1_000, open_every_ms: int = 5_000, most: int = 100_000) -> None:
        self._grace_ms = grace_ms
        self._open_every_ms = open_every_ms
        self._most = most
        self._slots: dict[str, dict[int, _Slot]] = {}
        self._count = 0
        self.overflowed = 0

    def __len__(self) -> int:
        """How many minutes are held, landed ones that are still remembered included."""
        return self._count

    def put(self, coin: str, candle: Candle) -> bool:
        """Take a frame in; true unless an older minute had to be dropped for it."""
        slots = self._slots.setdefault(coin, {})
        slot = slots.get(candle.open_ms)
        if slot is None:
            slots[candle.open_ms] = _Slot(candle)
            self._count += 1
            return self._count <= self._most or self._drop_oldest()
        if candle.trades > slot.candle.trades:
            slot.candle, slot.is_changed = candle, True
        return True

    def take(self, now_ms: int) -> list[LiveCandle]:
        """What is due at ``now_ms``; each is handed out once, unless it is given back or changes."""
        due: list[LiveCandle] = []
        for coin, slots in self._slots.items():
            newest = max(slots, default=0)
            for open_ms, slot in list(slots.items()):
                is_closed = open_ms < newest or now_ms >= open_ms + MINUTE_MS + self._grace_ms
                if is_closed and (slot.is_changed or not slot.is_closed):
                    due.append(LiveCandle(coin, slot.candle, True))
                    slot.is_changed, slot.is_closed, slot.landed_ms = False, True, now_ms
                elif slot.is_changed and now_ms - slot.landed_ms >= self._open_every_ms:
                    due.append(LiveCandle(coin, slot.candle, False))
                    slot.is_changed, slot.landed_ms = False, now_ms
                elif slot.is_closed and now_ms >= open_ms + _KEEP_MS:
                    del slots[open_ms]
                    self._count -= 1
        return due

    def give_back(self, batch: list[LiveCandle]) -> bool:
        """Take in again what could not be landed; true unless something had to be dropped."""
        kept = True
        for coin, candle, _ in batch:
            kept = self.put(coin, candle) and kept
            slot = self._slots[coin].get(candle.open_ms)
            if slot is not None:
                slot.is_changed, slot.is_closed, slot.landed_ms = True, False, 0
        return kept

    def _drop_oldest(self) -> bool:
        """Drop the oldest minute of all markets; those that were landed do not count as lost."""
        oldest = min(open_ms for slots in self._slots.values() for open_ms in slots)
        whole = True
        for slots in self._slots.values():
            slot = slots.pop(oldest, None)
            if slot is not None:
                self._count -= 1
                if slot.is_changed or not slot.is_closed:
                    self.overflowed += 1
                    whole = False
        return whole


@dataclass(slots=True)
class Watch:
    """Since when, and until when, no frame of some markets can have been missed; times in ms UTC.

    A connection that comes back within ``tolerance_ms`` has missed nothing that an hour's confirmation does not mend:
    the next frame of a minute holds the whole minute.
    """

    tolerance_ms: int = 10_000
    since_ms: int | None = None
    data_ms: int | None = None
    _broken_ms: int | None = field(default=None)

    def begin(self, now_ms: int) -> bool:
        """Everything is subscribed again; true when minutes were missed, so that REST has to read them."""
        broken, self._broken_ms = self._broken_ms, None
        if self.since_ms is not None and (broken is None or now_ms - broken <= self.tolerance_ms):
            return False
        self.since_ms = Interval.M1.ceil(now_ms)
        return True

    def data(self, now_ms: int) -> None:
        """A frame arrived."""
        self.data_ms = now_ms

    def break_off(self, now_ms: int) -> None:
        """The connection is gone; what it showed counts up to its last frame."""
        if self._broken_ms is None and self.since_ms is not None:
            self._broken_ms = now_ms if self.data_ms is None else self.data_ms

    def start_over(self, now_ms: int) -> None:
        """A frame was missed while connected: nothing of the minute under way may be relied on."""
        if self.since_ms is not None:
            self.since_ms = max(self.since_ms, Interval.M1.ceil(now_ms))

    @property
    def until_ms(self) -> int | None:
        """End of the last whole minute that was watched; null when there is none."""
        if self.since_ms is None or self.data_ms is None:
            return None
        seen_ms = self.data_ms if self._broken_ms is None else min(self.data_ms, self._broken_ms)
        until_ms = Interval.M1.floor(seen_ms)
        return until_ms if until_ms > self.since_ms else None
