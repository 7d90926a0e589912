"""Which requests to send now: expected - settled = wanted, packed into the fewest, cheapest requests.

A candle request weighs 20 + 1 per 60 rows, so two wanted spans are joined when
the rows between them cost less than a second request, and a read at the live
edge takes the last 60 slots along for nothing (design section 6, Plan).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.ledger import GapReason, ProofPolicy, SeriesState, last_reread
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.model.tariff import ROWS_PER_CANDLE_WEIGHT, request_weight

#: The reach of a read at the live edge, the open slot included: what one weight unit buys.
EDGE_SLOTS = ROWS_PER_CANDLE_WEIGHT

#: Slots asked for on both sides of a gap: absence proves something only between two rows of one answer. A sparse
#: series may have no row so near, so the margin doubles with each attempt.
MARGIN_SLOTS = 15
_MOST_DOUBLINGS = 6


#: Beside a dead window the newest slots are asked for when a quarter of its length has passed again, or this.
EDGE_PATIENCE_MS = 30 * MINUTE_MS

#: Which slots of a series somebody looks after, at a market time (ms UTC).
SlotsOf = Callable[[SeriesState, int], SpanSet]


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request, the series it is for, and the most it can weigh.

    ``wanted`` of its slots are due, the others come along; ``deadline_ms`` is
    when the exchange forgets the oldest of those due. One that ``is_edge`` ends
    with the slot that was open when it was planned.
    """

    series_id: int
    request: CandleRequest
    weight: int
    deadline_ms: int
    wanted: int
    is_edge: bool = False

    def at(self, now_ms: int) -> CandleRequest:
        """The request as it is to be sent at ``now_ms``: one that waited for its weight still ends at the live edge."""
        request, interval = self.request, self.request.series.interval
        end_ms = interval.floor(now_ms) + interval.milliseconds
        if not self.is_edge or end_ms <= request.end_ms:
            return request
        return replace(request, end_ms=end_ms)


def due_slots(
    state: SeriesState, now_ms: int, policy: ProofPolicy, *, window: Span | None = None, again: bool = False
) -> SpanSet:
    """Slots worth asking for at ``now_ms``.

    Without ``window``: gaps whose next try has come, and closed, settled slots
    never asked for, though not at once beside a window that failed for good.
    With it: everything unsettled in the window, whatever its next try; a
    person asked; ``again`` adds what is settled there.
    """
    interval = state.key.interval
    settled_end = interval.floor(now_ms - policy.settle_ms)
    end = settled_end if state.ended_ms is None else min(settled_end, state.ended_ms)
    unasked = SpanSet.single(max(state.known_until_ms, state.expected_start_ms), end)
    if window is None and unasked.total_ms < _patience_at_the_edge_ms(state):
        unasked = SpanSet()
    gaps = SpanSet.of(gap.span for gap in state.gaps if window is not None or gap.next_try_ms <= now_ms)
    wanted = SpanSet.single(state.expected_start_ms, end) if again else gaps | unasked
    wanted &= SpanSet.single(interval.oldest_reachable(now_ms), settled_end)
    if window is None:
        return wanted
    return wanted & SpanSet.single(interval.floor(window.start_ms), interval.ceil(window.end_ms))


def plan(
    states: Iterable[SeriesState],
    now_ms: int,
    policy: ProofPolicy,
    *,
    window: Span | None = None,
    again: bool = False,
    only: SlotsOf | None = None,
) -> list[PlannedRequest]:
    """Requests for every due slot of every series, nearest deadline first.

    Slots of a derived series are left until their 1m candles had the time to come (``policy.late_rows_ms``): until then
    the minutes that came make a provisional candle.
    ``only`` says which slots of a series are this plan's affair; all by default.
    """
    planned: list[PlannedRequest] = []
    for state in states:
        allowed = SpanSet.single(0, now_ms + 1) if only is None else only(state, now_ms)
        due = due_slots(state, now_ms, policy, window=window, again=again) & allowed
        if window is None and state.is_derived and not state.never_answered:
            due = _without_those_to_come(due, state, now_ms, policy)
        dead = SpanSet.of(gap.span for gap in state.gaps if gap.is_dead)
        spans = [_widened(span, state, now_ms, policy) for span in pack(due - dead, state.step_ms, _unanswered(state))]
        spans += due & dead  # each alone, as it is: nothing else shall fail with it
        if window is None and state.is_derived and state.key.interval.floor(now_ms) in allowed:
            spans += _reconciliation(state, spans, now_ms, policy)
        planned += (_planned(state, span, due, now_ms) for span in spans)
    return sorted(planned, key=lambda p: (p.deadline_ms, p.series_id))


def _without_those_to_come(due: SpanSet, state: SeriesState, now_ms: int, policy: ProofPolicy) -> SpanSet:
    """The due slots of a derived series but for those that 1m candles may still settle: quiet minutes come late."""
    return due & SpanSet.single(0, state.key.interval.floor(now_ms - policy.settle_ms - policy.late_rows_ms))


def answers_first(states: Sequence[SeriesState], *, window: Span | None = None) -> list[SeriesState]:
    """The series to ask for before the others: what they bring may settle the others without a request.

    Without ``window`` the others are the derived series that were answered
    before and whose 1m series is among ``states``. A first answer is the
    exchange's own, for all it has: 1m reaches back the least.
    """
    if window is not None:
        return list(states)
    bases = {state.key.coin for state in states if state.key.interval is Interval.M1}
    return [state for state in states if not state.is_derived or state.never_answered or state.key.coin not in bases]


def _reconciliation(state: SeriesState, asked: Sequence[Span], now_ms: int, policy: ProofPolicy) -> list[Span]:
    """The read that holds derived candles against the exchange's own, when one is due and none rides on ``asked``."""
    end = state.key.interval.floor(now_ms) + state.step_ms
    since = _reread_from(state, now_ms, policy)
    if (
        state.never_answered
        or state.ended_ms is not None
        or since >= now_ms
        or any(span.end_ms >= end for span in asked)
    ):
        return []
    start = min(since, end - EDGE_SLOTS * state.step_ms)
    return [Span(max(start, state.expected_start_ms, state.key.interval.oldest_reachable(now_ms)), end)]


def pack(wanted: SpanSet, step_ms: int, apart: SpanSet = SpanSet()) -> list[Span]:  # noqa: B008  # it is immutable
    """Join neighbours while one request over both costs no more than two, but never over the slots of ``apart``."""
    packed: list[Span] = []
    for span in wanted:
        if packed and not SpanSet.single(packed[-1].end_ms, span.start_ms) & apart:
            joined = Span(packed[-1].start_ms, span.end_ms)
            if _weight(joined, step_ms) <= _weight(packed[-1], step_ms) + _weight(span, step_ms):
                packed[-1] = joined
                continue
        packed.append(span)
    return packed


def _weight(span: Span, step_ms: int) -> int:
    return request_weight("candleSnapshot", span.length_ms // step_ms)


def _unanswered(state: SeriesState) -> SpanSet:
    """Dead slots that spoil a request for others as well; a row that is refused spoils nothing else."""
    return SpanSet.of(gap.span for gap in state.gaps if gap.is_dead and gap.reason is not GapReason.REJECTED)


def _patience_at_the_edge_ms(state: SeriesState) -> int:
    """How long the newest slots may wait because those before them are dead: the series seems to fail as a whole."""
    dead = _unanswered(state)
    if not dead or dead.spans[-1].end_ms < state.known_until_ms:
        return 0
    return min(dead.spans[-1].length_ms // 4, EDGE_PATIENCE_MS)


def _widened(span: Span, state: SeriesState, now_ms: int, policy: ProofPolicy) -> Span:
    """The span with what it pays to ask for beside it, up to the next dead slots: with those it would fail."""
    wide = _with_neighbours(span, state, now_ms, policy)
    dead = _unanswered(state)
    start = max((found.end_ms for found in dead if found.end_ms <= span.start_ms), default=wide.start_ms)
    end = min((found.start_ms for found in dead if found.start_ms >= span.end_ms), default=wide.end_ms)
    return Span(max(start, wide.start_ms), min(end, wide.end_ms))


def _with_neighbours(span: Span, state: SeriesState, now_ms: int, policy: ProofPolicy) -> Span:
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
    """Open time of the oldest slot that a re-read which is due wants; now when none is.

    While dead slots lie in its way it is not due: it could not get past them.
    """
    dead = _unanswered(state)
    due = (
        state.key.interval.floor(now_ms - reread.reach_ms)
        for number, reread in enumerate(policy.rereads_of(state, now_ms))
        if reread.is_due(state.series_id, last_reread(state, number), now_ms)
        and not dead & SpanSet.single(now_ms - reread.reach_ms, now_ms)
    )
    return min(due, default=now_ms)


def _attempts(state: SeriesState, span: Span) -> int:
    """How often the most asked of these slots have been asked for."""
    return max((gap.attempts for gap in state.gaps if SpanSet.single(*gap.span) & SpanSet.single(*span)), default=0)


def _planned(state: SeriesState, span: Span, due: SpanSet, now_ms: int) -> PlannedRequest:
    request = CandleRequest(state.key, span.start_ms, span.end_ms)
    wanted = due & SpanSet.single(*span)
    oldest = wanted.spans[0].start_ms if wanted else span.start_ms
    weight = request_weight("candleSnapshot", request.slots)
    deadline = state.key.interval.deadline(oldest)
    is_edge = span.end_ms == state.key.interval.floor(now_ms) + state.step_ms
    return PlannedRequest(state.series_id, request, weight, deadline, wanted.slots(state.step_ms), is_edge)
