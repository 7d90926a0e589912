"""Windows that fail for good: what kind of failure it is, and what became of it. Times in ms UTC of market time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import BadAnswer, NeedsAPerson, PipelineError, RateLimited
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import SeriesState
from hl_pipeline.model.span import SpanSet


class FailureKind(StrEnum):
    """What went wrong with a window; hl.failure_kind says how long each is borne."""

    REFUSED = "refused"
    BAD_ANSWER = "bad_answer"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"  # rows refused inside an otherwise good answer


def kind_of(error: PipelineError) -> FailureKind:
    """The kind that an error of a request is; a request is never ``REJECTED``, its rows are."""
    if isinstance(error, NeedsAPerson):
        return FailureKind.REFUSED
    if isinstance(error, BadAnswer):
        return FailureKind.BAD_ANSWER
    return FailureKind.RATE_LIMITED if isinstance(error, RateLimited) else FailureKind.UNREACHABLE


class Outcome(StrEnum):
    """How a dead letter stands."""

    OPEN = "open"
    RETRIED = "retried"  # due again, and not asked for yet
    HEALED = "healed"
    LOST = "lost"
    PARTLY_LOST = "partly lost"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One window of a series that failed for good. ``waiting`` are those of its ``slots`` without a usable answer yet.

    ``lost`` are those the exchange forgot first; ``deadline_ms`` is when it
    forgets the oldest that waits, null once none does. ``attempts`` counts the
    failures that made it a dead letter, and failed retries.
    """

    number: int
    key: SeriesKey
    kind: FailureKind
    slots: SpanSet
    waiting: SpanSet
    lost: SpanSet
    attempts: int
    error: str
    request: Mapping[str, Any]
    next_step: str
    fetch_id: int
    first_failed_ms: int
    died_ms: int
    retried_ms: int | None = None
    resolved_ms: int | None = None

    @property
    def outcome(self) -> Outcome:
        """How it stands."""
        if self.resolved_ms is None:
            is_due = self.retried_ms is not None and self.retried_ms > self.died_ms
            return Outcome.RETRIED if is_due else Outcome.OPEN
        if not self.lost:
            return Outcome.HEALED
        return Outcome.PARTLY_LOST if self.slots - self.lost else Outcome.LOST

    @property
    def deadline_ms(self) -> int | None:
        """When the exchange forgets the oldest slot that waits."""
        return self.key.interval.deadline(self.waiting.spans[0].start_ms) if self.waiting else None

    def count(self, slots: SpanSet) -> int:
        """How many slots of its interval a set holds."""
        return slots.slots(self.key.interval.milliseconds)


@dataclass(frozen=True, slots=True)
class DeadLetterTally:
    """The open dead letters in figures: how many, slots that wait, letters by kind; the rest of the oldest one.

    ``died_ms``, ``coin`` and ``interval`` are null when there is none.
    """

    letters: int = 0
    slots: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)
    died_ms: int | None = None
    coin: str | None = None
    interval: Interval | None = None
    next_step: str | None = None


def dead_slots(state: SeriesState, _now_ms: int | None = None) -> SpanSet:
    """The slots of a series that wait in a dead letter, whatever the time: a ``SlotsOf`` for a plan of them alone."""
    return SpanSet.of(gap.span for gap in state.gaps if gap.is_dead)
