"""Whether the newest runs are slower than those before: medians, so that a few odd runs on either side say nothing.

Values are compared by their ratio: twice as slow is as far from the usual as half as slow, whatever the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

#: So many standard deviations of a normal distribution away from the history's median is no accident.
DEVIATIONS = 5.0
#: What turns a median absolute deviation into a standard deviation, for a normal distribution.
_MAD_TO_SIGMA = 1.4826
#: A smaller change than by this factor is nobody's concern, however steady the history was.
LEAST_FACTOR = 1.5
RECENT_RUNS = 10
LEAST_HISTORY = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """The medians of the newest runs and of the ``runs`` before, in the value's own unit.

    ``bound`` is the last ``recent`` that would do: it is away from ``history`` by what the history scatters, and at
    least by ``LEAST_FACTOR``.
    """

    recent: float
    history: float
    bound: float
    runs: int
    lower_is_worse: bool

    @property
    def has_regressed(self) -> bool:
        """Whether the newest runs are worse than the bound."""
        return self.recent < self.bound if self.lower_is_worse else self.recent > self.bound

    @property
    def factor(self) -> float:
        """The newest runs over those before: 2 is twice as much."""
        return self.recent / self.history


def compared(newest_first: Sequence[float], *, lower_is_worse: bool) -> Comparison | None:
    """The newest runs' median against that of the runs before; null with too few of either to tell.

    Raises:
        ValueError: a value is not positive.
    """
    if any(value <= 0 for value in newest_first):
        raise ValueError(f"{min(newest_first)} is not positive: durations, sizes and rates are")
    recent, before = newest_first[:RECENT_RUNS], newest_first[RECENT_RUNS:]
    if len(before) < LEAST_HISTORY:
        return None
    middle = median(before)
    scatter = _MAD_TO_SIGMA * median(abs(log(value / middle)) for value in before)
    margin = max(exp(DEVIATIONS * scatter), LEAST_FACTOR)
    bound = middle / margin if lower_is_worse else middle * margin
    return Comparison(median(recent), middle, bound, len(before), lower_is_worse)
