"""A gap as people see it: why it is open, and for how long it can still be closed. Times in ms UTC."""

from __future__ import annotations

from dataclasses import dataclass

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.model.span import Span

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS

#: A gap this near to its deadline is worth a warning, and one that near an error.
DEADLINE_NEAR_MS = 12 * _HOUR_MS
DEADLINE_URGENT_MS = 2 * _HOUR_MS

#: The reasons in plain words.
WORDS = {
    GapReason.UNASKED: "never asked",
    GapReason.FAILED: "failed",
    GapReason.EXCHANGE_DOWN: "exchange down",
    GapReason.ABSENT: "absent once",
    GapReason.UNPUBLISHED: "not published yet",
    GapReason.REJECTED: "refused row",
    GapReason.PROVISIONAL: "too young to be trusted",
}


@dataclass(frozen=True, slots=True)
class OpenGap:
    """A run of due slots that are not settled, all with the same story.

    ``span`` is half-open; ``deadline_ms`` is when the exchange forgets its
    oldest slot. ``is_young``: it only waits for its turn, nothing is wrong.
    ``is_dead``: it waits in a dead letter, and nobody asks for it.
    """

    key: SeriesKey
    span: Span
    slots: int
    reason: GapReason
    attempts: int
    next_try_ms: int
    deadline_ms: int
    is_young: bool = False
    is_dead: bool = False

    @property
    def why(self) -> str:
        """The reason in plain words."""
        return f"{WORDS[self.reason]}, dead letter" if self.is_dead else WORDS[self.reason]


@dataclass(frozen=True, slots=True)
class EndangeredSlots:
    """Gap slots whose deadline is near: how many, and the first to go."""

    slots: int
    deadline_ms: int
    coin: str
    interval: Interval


def time_left(milliseconds: int) -> str:
    """A wait in its two largest units, rounded down: ``2 d 4 h``, ``1 h 5 min``, ``42 min``; ``none`` from 0 on."""
    if milliseconds <= 0:
        return "none"
    if milliseconds < _MINUTE_MS:
        return "under 1 min"
    days, rest = divmod(milliseconds, _DAY_MS)
    hours, rest = divmod(rest, _HOUR_MS)
    parts = [(days, "d"), (hours, "h")] if days else [(hours, "h"), (rest // _MINUTE_MS, "min")]
    return " ".join(f"{count:,} {unit}" for count, unit in parts if count)


def recoverable(deadline_ms: int, now_ms: int) -> str:
    """``recoverable for 2 d 4 h``; at the deadline itself the exchange has forgotten."""
    left_ms = deadline_ms - now_ms
    return f"recoverable for {time_left(left_ms)}" if left_ms > 0 else "no longer recoverable"
