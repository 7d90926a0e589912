"""The weight budget as its spenders see it: reserve before a request, settle after."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: A refused request keeps its place in the queue for 6 s (a tenth of the window); so it is asked again within this.
CLAIM_REPEAT_SECONDS = 2.0


class Lane(StrEnum):
    """Who may spend weight, the first served first; ``hl.rate_limit_lane`` holds ranks and floors.

    ``URGENT_GAP`` is for gaps under 12 h from their deadline.
    """

    URGENT_GAP = "urgent_gap"
    LIVE = "live"
    GAP = "gap"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Weight set aside for one request. ``remaining`` is what the window still holds after it."""

    spend_id: int
    weight: int
    remaining: int


class WeightBudget(Protocol):
    """Whoever keeps count of the request weight spent in the last minute, for all processes."""

    def reserve(self, weight: int, *, lane: str) -> Reservation:
        """Set ``weight`` aside for a request of ``lane`` (a ``Lane`` or its value).

        Raises:
            BudgetExhausted: not now; ``retry_after`` says in how many seconds. Ask again sooner, within
                ``CLAIM_REPEAT_SECONDS``, and from the same thread, to keep the place in the queue.
        """
        ...

    def settle(self, reservation: Reservation, weight: int) -> None:
        """Replace the reservation by the weight the answer really cost."""
        ...

    def withdraw(self) -> None:
        """Give up the place in the queue that the calling thread's refusal left; none is no error."""
        ...
