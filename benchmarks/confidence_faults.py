"""Twelve ways an exchange can spoil a day, each in ten sizes, and which part of the score should notice.

Sizes run from barely there to hopeless, in the unit that the kind's ``unit`` names. Whoever asks for the spoilt
market meets the fault; no number of the score is touched.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind

HOUR_MS = 60 * MINUTE_MS
#: Reads happen so long after the minute, when its candle has settled.
PAST_THE_MINUTE_MS = 20_000
#: Rows break a different hard rule each.
BROKEN_RULES = (
    FaultKind.NAN,
    FaultKind.HIGH_BELOW_LOW,
    FaultKind.UNDERSCORE,
    FaultKind.OFF_GRID,
    FaultKind.WRONG_COIN,
    FaultKind.VOLUME_WITHOUT_TRADES,
)


@dataclass(frozen=True, slots=True)
class Day:
    """The day that is spoilt: ``[start_ms, now_ms)``, ms UTC, and the draw of one market's fault.

    What closed before ``first_read_ms`` is read at all intervals; later larger candles are derived. ``traded`` are
    the open times of the minutes that had a trade.
    """

    start_ms: int
    first_read_ms: int
    now_ms: int
    coin: str
    traded: frozenset[int]
    chance: random.Random

    def slots(self, interval: Interval = Interval.M1, *, until_ms: int | None = None) -> list[int]:
        """Open times of the day's closed slots, up to ``until_ms``."""
        end = interval.floor(self.now_ms if until_ms is None else until_ms)
        return list(range(interval.ceil(self.start_ms), end, interval.milliseconds))

    def some(self, size: int, interval: Interval = Interval.M1, *, until_ms: int | None = None) -> tuple[int, ...]:
        """``size`` slots drawn at random, ascending."""
        return tuple(sorted(self.chance.sample(self.slots(interval, until_ms=until_ms), size)))

    def some_read_first(self, size: int, interval: Interval = Interval.M1) -> tuple[int, ...]:
        """``size`` slots drawn from those that the first read brings."""
        return self.some(size, interval, until_ms=self.first_read_ms)

    def run(self, size: int) -> tuple[int, ...]:
        """``size`` slots in a row somewhere in the day, away from its head; the first had a trade."""
        slots = self.slots(until_ms=self.now_ms - 3 * HOUR_MS)
        first = next(
            at for at in iter(lambda: self.chance.randrange(len(slots) - size), -1) if slots[at] in self.traded
        )
        return tuple(slots[first : first + size])

    def fault(self, kind: FaultKind, opens_ms: tuple[int, ...], interval: Interval | None = Interval.M1) -> Fault:
        """A fault that never ends, on these slots of the market."""
        return Fault(kind, self.coin, str(interval or ""), opens_ms=opens_ms)


@dataclass(frozen=True, slots=True)
class FaultStory:
    """One kind of fault: its ten ``sizes``, the component that should be blamed, the series that is spoilt.

    ``faults`` makes it happen. ``fatal``: the largest size must bring the score below the alarm; only gating
    components can. ``alone``: nothing but 1m is collected, so that larger candles cannot give it away. ``silent``:
    the market never shows a minute without trades, so that absence can pass for emptiness.
    """

    name: str
    told: str
    unit: str
    component: str
    sizes: tuple[int, ...]
    faults: Callable[[Day, int], list[Fault]]
    spoilt: Interval = Interval.M1
    fatal: bool = True
    alone: bool = False
    silent: bool = False
    last_good_read: Callable[[Day, int], int] | None = None


def _bad_rows(day: Day, size: int) -> list[Fault]:
    slots = day.some(size)
    rules = len(BROKEN_RULES)
    return [day.fault(kind, slots[n::rules]) for n, kind in enumerate(BROKEN_RULES) if slots[n::rules]]


def _price_off(day: Day, size: int) -> list[Fault]:
    """The last ``size`` minutes at all intervals; the longer, the farther from the market."""
    spoilt = set(day.slots()[-size:])
    opens = spoilt | {day.now_ms - day.now_ms % MINUTE_MS}
    return [Fault(FaultKind.SHIFTED, day.coin, opens_ms=tuple(sorted(opens)), amount=PRICE_OFF_BY[size])]


def _spikes(day: Day, size: int) -> list[Fault]:
    """Single candles 3 % off, never two close together."""
    apart = day.slots(until_ms=day.now_ms - HOUR_MS)[:: 1200 // 40]
    slots = tuple(sorted(day.chance.sample(apart, size)))
    return [Fault(FaultKind.SHIFTED, day.coin, "1m", opens_ms=slots, amount=300)]


def _stale(day: Day, size: int) -> list[Fault]:
    return [Fault(FaultKind.STALE, day.coin, request="candleSnapshot", amount=size * MINUTE_MS)]


def _before_outage(day: Day, size: int) -> int:
    return day.now_ms + PAST_THE_MINUTE_MS - size * MINUTE_MS


def _outage(day: Day, size: int) -> list[Fault]:
    since = _before_outage(day, size) + 1
    return [Fault(FaultKind.BAD_GATEWAY, day.coin, request="candleSnapshot", since_ms=since)]


def _late_corrections(day: Day, size: int) -> list[Fault]:
    """Halved when they are read first, right half an hour later; some re-read sees it in the twelve hours after."""
    until_ms = day.first_read_ms + HOUR_MS // 2
    return [Fault(FaultKind.REVISED, day.coin, "1m", opens_ms=day.some_read_first(size), until_ms=until_ms)]


#: Minutes that are off, and by how many ten-thousandths.
PRICE_OFF_BY = {5: 60, 10: 80, 15: 100, 30: 130, 45: 160, 60: 190, 120: 220, 240: 250, 480: 300, 900: 400}
_SCATTERED = (1, 3, 6, 10, 16, 24, 36, 60, 100, 300)

STORIES = (
    FaultStory("late", "scattered minutes are not published", "minutes", "completeness",
               (2, 5, 10, 20, 36, 58, 86, 115, 144, 290),
               lambda day, size: [day.fault(FaultKind.LATE, day.some(size, until_ms=day.now_ms - 10 * MINUTE_MS))]),
    FaultStory("hole", "minutes in a row are not published", "minutes", "completeness",
               (2, 5, 10, 15, 22, 30, 40, 50, 60, 180), lambda day, size: [day.fault(FaultKind.LATE, day.run(size))]),
    FaultStory("outage", "nothing but 502 until now", "minutes", "freshness",
               (2, 3, 4, 5, 6, 10, 30, 60, 180, 600), _outage,
               last_good_read=_before_outage),
    FaultStory("stale", "the head lags behind", "minutes", "freshness",
               (3, 4, 5, 6, 8, 10, 30, 60, 180, 600), _stale),
    FaultStory("bad rows", "rows break one of six hard rules", "rows", "validity",
               (1, 2, 3, 4, 6, 8, 14, 30, 80, 250), _bad_rows),
    FaultStory("lying parents", "5m candles show half of what was traded", "5m candles", "agreement",
               (1, 3, 6, 11, 18, 26, 36, 50, 70, 110),
               lambda day, size: [day.fault(FaultKind.REVISED, day.some_read_first(size, Interval.M5), Interval.M5)],
               spoilt=Interval.M5),
    FaultStory("halved", "1m candles show half of what was traded", "minutes", "agreement", _SCATTERED,
               lambda day, size: [day.fault(FaultKind.REVISED, day.some(size))]),
    FaultStory("price off", "the last prices leave the market, 0.6 to 4 %", "minutes", "agreement",
               tuple(PRICE_OFF_BY), _price_off),
    FaultStory("withheld", "traded minutes pass for empty", "minutes", "agreement", _SCATTERED,
               lambda day, size: [day.fault(FaultKind.VANISHED, day.some(size, until_ms=day.now_ms - 6 * HOUR_MS))],
               silent=True),
    FaultStory("late corrections", "candles change hours after their close", "minutes", "provenance",
               (30, 45, 60, 80, 100, 130, 160, 190, 230, 290), _late_corrections, fatal=False),
    FaultStory("spikes", "single candles 3 % off", "minutes", "stability",
               (1, 2, 4, 6, 9, 12, 16, 20, 25, 29), _spikes, fatal=False, alone=True),
    FaultStory("frozen", "the same candle again and again", "minutes", "stability",
               (4, 6, 8, 10, 13, 16, 19, 22, 26, 31),
               lambda day, size: [day.fault(FaultKind.FROZEN, day.run(size))], fatal=False, alone=True),
)  # fmt: skip
