"""Service levels: an objective, what was measured over a window, and how much of its error budget is left.

Every objective is a share of events that must be good; its target leaves an error budget, the share that may be bad.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise with its number.

    ``target`` is the share of ``events`` that must be good, ``rule`` says which are; ``figure`` names the number that
    people know it by, in ``unit``, beside the ``bound`` of a single event.
    """

    name: str
    target: Fraction
    events: str
    rule: str
    figure: str
    unit: str
    bound: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened in a window: ``bad`` of ``events``. ``figure`` is null when it cannot be said."""

    events: int
    bad: int
    figure: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.events:
            raise ValueError(f"{self.bad} bad of {self.events} events: there cannot be more bad ones than there are")


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How an objective stands over a window."""

    objective: Objective
    measured: Measured

    @property
    def allowed(self) -> Fraction:
        """How many events may be bad."""
        return (1 - self.objective.target) * self.measured.events

    @property
    def is_measured(self) -> bool:
        """Whether there was anything to judge."""
        return self.measured.events > 0

    @property
    def is_met(self) -> bool:
        """Whether no more events were bad than may be; so it is, too, when nothing happened."""
        return self.measured.bad <= self.allowed

    @property
    def good_share(self) -> float | None:
        """The share of good events, 0 to 1; null without any."""
        events, bad = self.measured.events, self.measured.bad
        return (events - bad) / events if events else None

    @property
    def left(self) -> float:
        """What is left of the budget: 1 untouched, 0 spent, below 0 overspent; -inf where none was allowed."""
        if not self.measured.bad:
            return 1.0
        return float(1 - self.measured.bad / self.allowed) if self.allowed else float("-inf")
