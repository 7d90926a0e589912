"""How long after its close a candle may still change: longer while the exchange is seen to change closed candles.

A closed candle that was read and then read again with another value had not settled when it was first read: the
exchange corrected it, or its answer lagged behind its clock. The age at which it was read says how long settling would
have taken at least. A slot without a row is another matter: it stays a gap and is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: The settle times that are tried, in multiples of the least one.
STEPS = (1.0, 1.5, 2.5, 4.0, 6.0)
#: More than this share of the closed candles, and this many at least: less is a single correction, not a habit.
TOLERATED_SHARE = 0.01
TOLERATED_ROWS = 2
#: Candles are judged by the ten minutes in which they closed, and the last so many count. So it grows at the next
#: tick and shrinks only once the exchange has kept its word for half an hour.
PERIOD_MS = 600_000
PERIODS = 3


class Changes(NamedTuple):
    """What became of the candles that closed within one period: how many were read, and of those that another read
    changed, how old (ms after the close) each was when it was read with the value that did not last."""

    closed: int
    ages_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class SettleTime:
    """The settle time in force, ms. ``least_ms`` is what it is when nothing speaks for longer.

    ``closed`` candles were looked at, ``changed`` of them changed after a read that counted as late enough at
    ``least_ms``. ``is_fixed``: a person set it, nothing is looked at.
    """

    ms: int
    least_ms: int
    closed: int = 0
    changed: int = 0
    is_fixed: bool = False

    @property
    def sentence(self) -> str:
        """What it is and why, for people."""
        if self.is_fixed:
            return f"{_seconds(self.ms)}, as HL_SETTLE_SECONDS says"
        looked_at = f"of {self.closed:,} closed rows changed after their first read"
        if self.ms > self.least_ms:
            share = f"{100 * self.changed / self.closed:.1f} %"
            return f"{_seconds(self.least_ms)} -> {_seconds(self.ms)} because {share} {looked_at}"
        return f"{_seconds(self.ms)}: {self.changed or 'none'} {looked_at}"


def settle_time(least_ms: int, most_ms: int, changes: Sequence[Changes]) -> SettleTime:
    """The shortest settle time at which hardly any candle would have been trusted too early, in every period.

    Raises:
        ValueError: ``least_ms`` is not positive, or above ``most_ms``.
    """
    if not 0 < least_ms <= most_ms:
        raise ValueError(f"a settle time from {least_ms} ms to {most_ms} ms: the least is above 0, the most not below")
    return SettleTime(
        ms=max((_enough_for(found, least_ms, most_ms) for found in changes), default=least_ms),
        least_ms=least_ms,
        closed=sum(found.closed for found in changes),
        changed=sum(age >= least_ms for found in changes for age in found.ages_ms),
    )


def _enough_for(found: Changes, least_ms: int, most_ms: int) -> int:
    steps = [min(round(least_ms * step), most_ms) for step in STEPS]
    for step_ms in steps:
        too_early = sum(age >= step_ms for age in found.ages_ms)
        if too_early <= TOLERATED_ROWS or too_early <= TOLERATED_SHARE * found.closed:
            return step_ms
    return steps[-1]


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"
