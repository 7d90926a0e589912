"""The weight budget as its spenders see it: reserve before a request, settle after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reservation:
    """Weight set aside for one request. ``remaining`` is what the window still holds after it."""

    spend_id: int
    weight: int
    remaining: int


class WeightBudget(Protocol):
    """Whoever keeps count of the request weight spent in the last minute, for all processes."""

    def reserve(self, weight: int, *, lane: str) -> Reservation:
        """Set ``weight`` aside.

        Raises:
            BudgetExhausted: not now; ``retry_after`` says in how many seconds.
        """
        ...

    def settle(self, reservation: Reservation, weight: int) -> None:
        """Replace the reservation by the weight the answer really cost."""
        ...
