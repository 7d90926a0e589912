"""Who asks for which gap, and in which order.

A tick takes the live edge, so that it stays short whatever lies behind it. The
older gaps wait in a queue, which a drain works off: nearest deadline first, then the
market with the larger volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hl_pipeline.model.budget import Lane
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.ledger import GapReason, SeriesState
from hl_pipeline.model.open_gap import DEADLINE_NEAR_MS, OpenGap, recoverable
from hl_pipeline.model.plan import EDGE_SLOTS, PlannedRequest
from hl_pipeline.model.span import SpanSet

#: How far back a tick looks after gaps itself: as far as its hourly re-read goes, for 3 weight more than a bare edge.
LIVE_SLOTS = 4 * EDGE_SLOTS


def live_slots(state: SeriesState, now_ms: int) -> SpanSet:
    """The slots that a tick asks for: the newest, the open one included.

    All of a series without history: only an answer for everything can tell where the series begins. Of a derived one
    as much time as of its 1m series, and the newest closed slot: what is older the drained minutes may give it.
    """
    end = state.key.interval.floor(now_ms) + state.step_ms
    if not state.has_history:
        return SpanSet.single(0, end)
    if state.is_derived:
        return SpanSet.single(state.key.interval.floor(now_ms - LIVE_SLOTS * MINUTE_MS) - state.step_ms, end)
    return SpanSet.single(end - LIVE_SLOTS * state.step_ms, end)


def queued_slots(state: SeriesState, now_ms: int) -> SpanSet:
    """The slots that a drain asks for: those that no tick does."""
    return SpanSet.single(0, live_slots(state, now_ms).spans[0].start_ms)


def lane_of(request: PlannedRequest, now_ms: int) -> Lane:
    """Under twelve hours from its deadline a gap outranks the live edge."""
    return Lane.URGENT_GAP if request.deadline_ms - now_ms < DEADLINE_NEAR_MS else Lane.GAP


def in_order(requests: Iterable[PlannedRequest], volumes: Mapping[str, float]) -> list[PlannedRequest]:
    """Nearest deadline first, then the larger 24 h volume; ``volumes`` by coin in quote currency, 0 where unknown."""
    return sorted(
        requests,
        key=lambda planned: (
            planned.deadline_ms,
            -volumes.get(planned.request.series.coin, 0.0),
            planned.series_id,
            planned.request.start_ms,
        ),
    )


@dataclass(frozen=True, slots=True)
class GapQueue:
    """The open gaps at one instant, in figures. Slots that only wait for their turn are not in it.

    ``slots_by_reason`` is largest first; ``deadline_ms`` is the nearest one and ``oldest_ms`` the oldest slot's open
    time, both null when nothing is open.
    """

    gaps: int = 0
    slots: int = 0
    slots_by_reason: Mapping[GapReason, int] = field(default_factory=dict)
    deadline_ms: int | None = None
    oldest_ms: int | None = None

    def story(self, now_ms: int) -> str:
        """One sentence: how much is open, and for how long it can be had."""
        if self.deadline_ms is None:
            return "no gap is open"
        return f"{self.slots:,} slots in {self.gaps:,} gaps, the first {recoverable(self.deadline_ms, now_ms)}"


def summed_up(gaps: Sequence[OpenGap]) -> GapQueue:
    """The queue that these gaps make."""
    missing = [gap for gap in gaps if not gap.is_young]
    slots: dict[GapReason, int] = {}
    for gap in missing:
        slots[gap.reason] = slots.get(gap.reason, 0) + gap.slots
    return GapQueue(
        gaps=len(missing),
        slots=sum(gap.slots for gap in missing),
        slots_by_reason=dict(sorted(slots.items(), key=lambda found: (-found[1], found[0]))),
        deadline_ms=min((gap.deadline_ms for gap in missing), default=None),
        oldest_ms=min((gap.span.start_ms for gap in missing), default=None),
    )
