"""Which requests to send now: expected - settled = wanted, packed into the fewest, cheapest requests.

A candle request weighs 20 + 1 per 60 rows, so two wanted spans are joined when
the rows between them cost less than a second request, and a read at the live
edge takes the last 60 slots along for nothing (design section 6, Plan).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.ledger import ProofPolicy, SeriesState, last_reread
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.model.tariff import ROWS_PER_CANDLE_WEIGHT, request_weight

#: The reach of a read at the live edge, the open slot included: what one weight unit buys.
EDGE_SLOTS = ROWS_PER_CANDLE_WEIGHT

#: Slots asked for on both sides of a gap: absence proves something only between two rows of one answer. A sparse
#: series may have no row so near, so the margin doubles with each attempt.
MARGIN_SLOTS = 15
_MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request, the series it is for, the most it can weigh, and when the exchange forgets its oldest slot."""

    series_id: int
    request: CandleRequest
    weight: int
    deadline_ms: int


def due_slots(state: SeriesState, now_ms: int, policy: ProofPolicy, *, window: Span | None = None) -> SpanSet:
    """Slots worth asking for at ``now_ms``.

    Without ``window``: gaps whose next try has come, and closed, settled slots
    never asked for. With it: everything unsettled in the window, whatever its
    next try; a person asked.
    """
    interval = state.key.interval
    settled_end = interval.floor(now_ms - policy.settle_ms)
    end = settled_end if state.ended_ms is None else min(settled_end, state.ended_ms)
    unasked = SpanSet.single(max(state.known_until_ms, state.expected_start_ms), end)
    gaps = SpanSet.of(gap.span for gap in state.gaps if window is not None or gap.next_try_ms <= now_ms)
    wanted = (gaps | unasked) & SpanSet.single(interval.oldest_reachable(now_ms), settled_end)
    if window is None:
        return wanted
    return wanted & SpanSet.single(interval.floor(window.start_ms), interval.ceil(window.end_ms))


def plan(
    states: Iterable[SeriesState], now_ms: int, policy: ProofPolicy, *, window: Span | None = None
) -> list[PlannedRequest]:
    """Requests for every due slot of every series, nearest deadline first."""
    planned: list[PlannedRequest] = []
    for state in states:
        spans = pack(due_slots(state, now_ms, policy, window=window), state.step_ms)
        planned += (_planned(state, _widened(span, state, now_ms, policy), now_ms) for span in spans)
    return sorted(planned, key=lambda p: (p.deadline_ms, p.series_id))


def pack(wanted: SpanSet, step_ms: int) -> list[Span]:
    """Join neighbours while one request over both costs no more than two."""
    packed: list[Span] = []
    for span in wanted:
        if packed:
            joined = Span(packed[-1].start_ms, span.end_ms)
            if _weight(joined, step_ms) <= _weight(packed[-1], step_ms) + _weight(span, step_ms):
                packed[-1] = joined
                continue
        packed.append(span)
    return packed


def _weight(span: Span, step_ms: int) -> int:
    return request_weight("candleSnapshot", span.length_ms // step_ms)


def _widened(span: Span, state: SeriesState, now_ms: int, policy: ProofPolicy) -> Span:
    """With a margin, to have rows on both sides; near the live edge, with the last slots and the open one.

    Once in a while a read at the edge reaches back further, to see again what was settled hours ago.
    """
    interval, step = state.key.interval, state.step_ms
    reachable = max(interval.oldest_reachable(now_ms), state.expected_start_ms)
    margin = MARGIN_SLOTS * 2 ** min(_attempts(state, span), _MOST_DOUBLINGS) * step
    start = max(span.start_ms - margin, reachable)
    edge_end = interval.floor(now_ms) + step
    edge_start = edge_end - EDGE_SLOTS * step
    if state.ended_ms is not None:
        return Span(start, min(span.end_ms + margin, state.ended_ms))
    if span.end_ms + margin <= edge_start:
        return Span(start, span.end_ms + margin)
    if span.start_ms > edge_start:
        start = max(edge_start, reachable)
    return Span(max(min(start, _reread_from(state, now_ms, policy)), reachable), edge_end)


def _reread_from(state: SeriesState, now_ms: int, policy: ProofPolicy) -> int:
    """Open time of the oldest slot that a re-read which is due wants; now when none is."""
    due = (
        now_ms - reread.reach_ms
        for number, reread in enumerate(policy.rereads)
        if now_ms - last_reread(state, number) >= reread.every_ms
    )
    return state.key.interval.floor(min(due, default=now_ms))


def _attempts(state: SeriesState, span: Span) -> int:
    """How often the most asked of these slots have been asked for."""
    return max((gap.attempts for gap in state.gaps if SpanSet.single(*gap.span) & SpanSet.single(*span)), default=0)


def _planned(state: SeriesState, span: Span, now_ms: int) -> PlannedRequest:
    request = CandleRequest(state.key, span.start_ms, span.end_ms)
    deadline = state.key.interval.deadline(max(span.start_ms, state.key.interval.oldest_reachable(now_ms)))
    return PlannedRequest(state.series_id, request, request_weight("candleSnapshot", request.slots), deadline)
