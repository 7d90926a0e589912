"""How long each kind of record is kept: bounds, and what is older than they say.

A bound is a length of time; what is older by the market's clock is *due*.
Candles and quotes lie in monthly partitions, so of them only whole months are
due: a month is kept until its last instant is older than the bound. The ledger
(coverage, gaps), revisions, and fetches that something refers to have no bound:
they are never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span

DAY_MS = 86_400_000
FOREVER = "forever"
#: How long a month that was loaded again stays before it is due once more.
RESTORED_STAYS_MS = 30 * DAY_MS
#: Retention runs once a day; what was due so long ago ought to be gone.
LATE_MS = 36 * 3_600_000
#: The least bounds, in days. Candles: what the exchange may still be asked for of 1m to 15m (52 days), and what scores
#: and comparisons look back on (31). Quotes, fetches, alerts and logs: what figures of the last day to month read.
LEAST_CANDLE_DAYS = 62
LEAST_DAYS = {"contexts": 31, "fetches": 31, "alerts": 7, "logs": 31, "runs": 2}

_BOUND = re.compile(r"([1-9][0-9]{0,4})([dy])")
_UNITS = {"d": 1, "y": 365}


class Kind(StrEnum):
    """What is dropped row by row, each under the bound of its group."""

    FETCHES = "unreferenced fetches"
    ALERTS = "resolved alerts"
    INCIDENTS = "told incidents"
    SILENCES = "ended silences"
    HEALTH_LOG = "health log"
    CONFIDENCE = "confidence history"
    DISAGREEMENTS = "endpoint disagreements"
    DEAD_LETTERS = "settled dead letters"
    EPISODES = "closed gap episodes"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long what is kept, in ms; null, or an interval that is not named: for ever."""

    candles: Mapping[Interval, int] = field(default_factory=dict)
    contexts_ms: int | None = None
    fetches_ms: int | None = None
    alerts_ms: int | None = None
    logs_ms: int | None = None
    runs_ms: int | None = None

    def of(self, kind: Kind) -> int | None:
        """The bound of rows of this kind."""
        if kind is Kind.FETCHES:
            return self.fetches_ms
        if kind in (Kind.ALERTS, Kind.INCIDENTS, Kind.SILENCES):
            return self.alerts_ms
        return self.logs_ms


def read_bound(text: str, least_days: int = 1) -> int | None:
    """``180d``, ``2y`` (of 365 days each) or ``forever`` as milliseconds; null is for ever.

    Raises:
        InvalidSetting: it is written otherwise, or is below ``least_days``.
    """
    if text == FOREVER:
        return None
    found = _BOUND.fullmatch(text)
    if found is None:
        raise InvalidSetting(f"{text!r} is no bound: write days or years, such as 180d or 2y, or {FOREVER}")
    days = int(found[1]) * _UNITS[found[2]]
    if days < least_days:
        raise InvalidSetting(f"{text!r} is too short, what is younger is still read: keep {least_days}d or more")
    return days * DAY_MS


def read_candle_bounds(texts: Sequence[str]) -> dict[Interval, int]:
    """``1m=365d`` and the like, one an interval; ``forever`` is the same as not naming it.

    Raises:
        InvalidSetting: an interval is unknown or named twice, or a bound cannot be read.
    """
    bounds: dict[Interval, int] = {}
    named: set[str] = set()
    for text in texts:
        name, sign, bound = text.partition("=")
        if not sign or name not in {str(interval) for interval in Interval}:
            raise InvalidSetting(f"{text!r}: write interval=bound, such as 1m=365d; there are {', '.join(Interval)}")
        if name in named:
            raise InvalidSetting(f"{name} is named more than once: give it one bound")
        named.add(name)
        bound_ms = read_bound(bound, LEAST_CANDLE_DAYS)
        if bound_ms is not None:
            bounds[Interval(name)] = bound_ms
    return bounds


def cutoff(now_ms: int, bound_ms: int) -> int:
    """What is before this instant (ms UTC) is due."""
    return now_ms - bound_ms


def is_due(month: Span, now_ms: int, bound_ms: int, restored_ms: int | None = None) -> bool:
    """Whether a month may be dropped: wholly older than the bound, and not loaded again of late."""
    if restored_ms is not None and now_ms < restored_ms + RESTORED_STAYS_MS:
        return False
    return month.end_ms <= cutoff(now_ms, bound_ms)
