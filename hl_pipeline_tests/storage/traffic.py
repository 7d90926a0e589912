"""Simulated spenders of one weight budget: they ask, wait as the REST client does, send, settle, and ask again.

Belongs here: what drives a real budget through simulated minutes. What it must
have done is said in the tests.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from hl_pipeline.model.budget import CLAIM_REPEAT_SECONDS, Reservation
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database

WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Spend:
    """Weight let through, at the instant at which it counts; waited from its first asking to its reservation."""

    at_ms: int
    lane: str
    weight: int
    waited_ms: int


@dataclass
class Spender:
    """One thread that asks for ``weight`` again and again, ``pause_ms`` after each answer, within its span."""

    lane: str
    weight: int
    answer_ms: int = 300
    pause_ms: int = 0
    from_ms: int = 0
    until_ms: int = 1 << 50
    budget: PostgresBudget = field(init=False)
    asked_ms: int = 0
    sent: Reservation | None = None


@dataclass
class Street:
    """A budget of ``limit`` under simulated time, and all that was spent of it."""

    database: Database
    limit: int
    start_ms: int
    clock: ManualClock = field(init=False)
    spends: list[Spend] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(self.start_ms)

    def run(self, minutes: float, *spenders: Spender) -> list[Spend]:
        """Let them spend for that long. Times in ``Spender`` count from the start of the simulation."""
        order = itertools.count()
        agenda: list[tuple[int, int, Spender]] = []
        for spender in spenders:
            spender.budget = PostgresBudget(self.database, "street", self.limit, clock=self.clock)
            spender.budget.ensure()
            spender.asked_ms = spender.from_ms
            heapq.heappush(agenda, (self.start_ms + spender.from_ms, next(order), spender))
        end_ms = self.start_ms + int(minutes * 60_000)
        while agenda and agenda[0][0] < end_ms:
            at_ms, _, spender = heapq.heappop(agenda)
            self.clock.set(at_ms)
            again_ms = self._step(spender, at_ms - self.start_ms)
            if again_ms < spender.until_ms:
                heapq.heappush(agenda, (self.start_ms + again_ms, next(order), spender))
        return self.spends

    def _step(self, spender: Spender, now_ms: int) -> int:
        """Let one spender act; when it acts next."""
        if spender.sent is not None:
            spender.budget.settle(spender.sent, spender.weight)
            waited = now_ms - spender.answer_ms - spender.asked_ms
            self.spends.append(Spend(now_ms, spender.lane, spender.weight, waited))
            spender.sent = None
            spender.asked_ms = now_ms + spender.pause_ms
            return spender.asked_ms
        try:
            spender.sent = spender.budget.reserve(spender.weight, lane=spender.lane)
        except BudgetExhausted as refusal:
            wait = min(refusal.retry_after or 1.0, CLAIM_REPEAT_SECONDS)
            return now_ms + max(int(wait * 1000), 1)
        return now_ms + spender.answer_ms


def least_in_any_window(spends: list[Spend], lane: str, from_ms: int, until_ms: int) -> int:
    """The least weight ``lane`` had in any whole window within the span; it can only change where a spend enters."""
    own = sorted((s.at_ms, s.weight) for s in spends if s.lane == lane)
    starts = [from_ms, *(at for at, _ in own if from_ms <= at and at + WINDOW_MS <= until_ms)]
    return min(sum(w for at, w in own if start < at < start + WINDOW_MS) for start in starts)


def most_in_any_window(spends: list[Spend]) -> int:
    """The most weight any window held, of all lanes."""
    return max(sum(s.weight for s in spends if end.at_ms - WINDOW_MS < s.at_ms <= end.at_ms) for end in spends)
