"""The coverage ledger's arithmetic: what an answer proves about a series' slots.

Every slot of ``[expected start, known_until)`` is final, verified empty, lost,
or part of exactly one gap. This file moves slots between those states; it knows
no database. ``tests: model/test_ledger.py`` hold the invariant under any answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.confirm import STREAM_PATIENCE_MS, confirm_at, phase
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.span import Span, SpanSet

#: How far behind the live edge a gap counts as part of it, in slots.
_EDGE_SLOTS = 240


class GapReason(StrEnum):
    """Why a slot is not settled."""

    UNASKED = "unasked"  # closed, and nobody has asked for it
    PROVISIONAL = "provisional"  # read, but too soon after its close to be trusted
    ABSENT = "absent"  # rows stand on both sides of it in the same answer
    UNPUBLISHED = "unpublished"  # the answer ends (or begins) before it
    REJECTED = "rejected"  # the answer held a row that broke a rule
    FAILED = "failed"  # the request got no answer
    EXCHANGE_DOWN = "exchange_down"  # the exchange could not be reached, or answered 5xx


#: What an unanswered request says more about than what stood there before.
_UNANSWERED = frozenset({GapReason.UNASKED, GapReason.FAILED, GapReason.EXCHANGE_DOWN})


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of slots with the same story. ``next_try_ms`` is when asking again makes sense.

    ``is_dead``: it failed for good and waits in a dead letter; it is asked for
    alone, so that what fails with it is nothing else.
    """

    span: Span
    reason: GapReason
    next_try_ms: int
    attempts: int = 0
    first_absent_ms: int | None = None
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Reread:
    """Settled slots are read once more when they are ``age_ms`` old, all those of ``every_ms`` in one read.

    So that a candle the exchange changes or publishes late is seen: a read at
    the live edge reaches back ``age_ms + every_ms`` once in ``every_ms``. It
    covers 60 slots for nothing, which is the first re-read of all.
    """

    age_ms: int
    every_ms: int

    @property
    def reach_ms(self) -> int:
        """How far back such a read goes."""
        return self.age_ms + self.every_ms

    def is_due(self, series_id: int, last_ms: int, now_ms: int) -> bool:
        """Whether a new period of the series has begun since ``last_ms``.

        Each series has periods of its own, spread by its id: read at one
        instant, all of them together would take minutes of the weight budget.
        """
        shift = phase(series_id, self.every_ms)
        return last_ms == 0 or (now_ms + shift) // self.every_ms > (last_ms + shift) // self.every_ms


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """When a read is trusted (design section 6). All in milliseconds of market time.

    ``late_rows_ms``: so long the exchange may take to publish a quiet minute; a 5m to 1d slot waits as long for its
    minutes before it is asked for itself. ``confirm_ms``: what the stream watches is read by REST once in so long.
    """

    settle_ms: int = 10_000
    empty_apart_ms: int = 30 * MINUTE_MS
    empty_age_ms: int = 120 * MINUTE_MS
    late_rows_ms: int = 30 * MINUTE_MS
    absent_retry_ms: int = 5 * MINUTE_MS
    absent_retry_old_ms: int = 30 * MINUTE_MS
    failed_retry_ms: int = MINUTE_MS
    failed_retry_cap_ms: int = 30 * MINUTE_MS
    delisted_ends_after_ms: int = 120 * MINUTE_MS
    rereads: tuple[Reread, ...] = (
        Reread(age_ms=180 * MINUTE_MS, every_ms=60 * MINUTE_MS),
        Reread(age_ms=1440 * MINUTE_MS, every_ms=720 * MINUTE_MS),
    )
    reconciliations: tuple[Reread, ...] = (Reread(age_ms=180 * MINUTE_MS, every_ms=1440 * MINUTE_MS),)
    confirm_ms: int = 60 * MINUTE_MS
    streamed_rereads: tuple[Reread, ...] = (
        Reread(age_ms=180 * MINUTE_MS, every_ms=720 * MINUTE_MS),
        Reread(age_ms=1440 * MINUTE_MS, every_ms=2880 * MINUTE_MS),
    )
    streamed_reconciliations: tuple[Reread, ...] = (Reread(age_ms=180 * MINUTE_MS, every_ms=7 * 1440 * MINUTE_MS),)

    def rereads_of(self, state: SeriesState, at_ms: int) -> tuple[Reread, ...]:
        """Those of the series: a derived one has no reads to ride on and is read for its own sake, once a day.

        What the stream watches is seen as it happens, so it is read again less often.
        """
        if state.is_streamed(at_ms):
            return self.streamed_reconciliations if state.is_derived else self.streamed_rereads
        return self.reconciliations if state.is_derived else self.rereads


@dataclass(frozen=True, slots=True)
class SeriesState:
    """What the ledger knows of one series, without its settled slots.

    ``delisted_since_ms`` is null for a listed market and 0 for one that was
    delisted before we first saw it. ``has_history`` says that some slot was
    settled by a row, so the series did not begin later than that.
    ``is_derived``: the market's 1m series is kept too, and gives this one its
    candles. ``reread_ms`` holds, for each re-read of the policy, when a read last
    reached that far back; 0 when none has. ``streamed_until_ms``: up to here the
    stream watched the market's 1m series.
    """

    series_id: int
    key: SeriesKey
    tracked_from_ms: int
    known_until_ms: int
    first_open_ms: int | None = None
    ended_ms: int | None = None
    delisted_since_ms: int | None = None
    emits_quiet_rows: bool = False
    has_history: bool = False
    is_derived: bool = False
    reread_ms: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()
    streamed_until_ms: int | None = None

    def is_streamed(self, at_ms: int) -> bool:
        """Whether the stream watches the market now, so that its candles only need to be confirmed."""
        return self.streamed_until_ms is not None and at_ms - self.streamed_until_ms <= STREAM_PATIENCE_MS

    @property
    def step_ms(self) -> int:
        """Length of one slot."""
        return self.key.interval.milliseconds

    @property
    def expected_start_ms(self) -> int:
        """Open time of the first slot that is expected to have a candle."""
        return self.tracked_from_ms if self.first_open_ms is None else self.first_open_ms

    @property
    def never_answered(self) -> bool:
        """No answer has landed yet."""
        return self.known_until_ms <= self.tracked_from_ms


@dataclass(frozen=True, slots=True)
class SlotsSeen:
    """What one answer holds: the span it was asked for and the open times of its sound rows, ascending."""

    asked: Span
    asked_ms: int
    open_times: list[int]
    has_quiet_rows: bool = False
    has_rejected_rows: bool = False


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """The series after the change, and the slots that became settled by it."""

    state: SeriesState
    final: SpanSet = field(default_factory=SpanSet)
    empty: SpanSet = field(default_factory=SpanSet)
    lost: SpanSet = field(default_factory=SpanSet)


def expire(state: SeriesState, now_ms: int) -> LedgerChange:
    """Declare lost what the exchange has forgotten; a series of which no row was ever seen starts at what is reachable.

    A first request that failed leaves gaps; what of these is forgotten before an answer tells where the series begins
    may never have existed.
    """
    reachable = state.key.interval.oldest_reachable(now_ms)
    if state.never_answered or (not state.has_history and state.first_open_ms is None):
        moved = max(state.tracked_from_ms, reachable)
        known = moved if state.never_answered else max(state.known_until_ms, moved)
        gaps = _without(state.gaps, SpanSet.single(0, moved))
        return LedgerChange(replace(state, tracked_from_ms=moved, known_until_ms=known, gaps=gaps))
    until = min(reachable, state.ended_ms) if state.ended_ms is not None else reachable
    known = max(state.known_until_ms, until)
    never_asked = SpanSet.single(max(state.known_until_ms, state.expected_start_ms), until)
    forgotten = SpanSet.of(gap.span for gap in state.gaps) & SpanSet.single(0, reachable) | never_asked
    gaps = _without(state.gaps, SpanSet.single(0, reachable))
    return LedgerChange(replace(state, known_until_ms=known, gaps=gaps), lost=forgotten)


def prove(state: SeriesState, seen: SlotsSeen, policy: ProofPolicy) -> LedgerChange:
    """What the answer ``seen`` settles, and what stays open and why (design section 6, Prove)."""
    interval = state.key.interval
    closed_end = min(seen.asked.end_ms, interval.floor(seen.asked_ms))
    answered = SpanSet.single(max(seen.asked.start_ms, interval.oldest_reachable(seen.asked_ms)), closed_end)
    state = _take_in(state, seen, answered, policy)
    settled_end = interval.floor(seen.asked_ms - policy.settle_ms)
    present = SpanSet.from_slots(seen.open_times, state.step_ms)
    final = present & SpanSet.single(0, settled_end)
    gaps = list(_without(state.gaps, answered))
    empty = SpanSet()
    for gap in state.gaps:
        inside = SpanSet.single(*gap.span) & answered
        gaps += _provisional(gap, inside & present - final, state.step_ms, policy)
        proven, still_absent = _judge_absence(gap, inside - present, state, seen, policy)
        empty |= proven
        gaps += still_absent
    if state.is_streamed(seen.asked_ms):
        gaps = _until_confirmed(gaps, state, answered, seen.asked_ms, policy)
    state = replace(
        state,
        gaps=merged(gaps),
        has_history=state.has_history or bool(final),
        reread_ms=_reread(state, answered, seen.asked_ms, policy),
    )
    return LedgerChange(state, final=final, empty=empty)


def fail(
    state: SeriesState, asked: Span, asked_ms: int, policy: ProofPolicy, reason: GapReason = GapReason.FAILED
) -> LedgerChange:
    """A request that got no answer: its slots wait longer after each attempt. ``reason`` is FAILED or EXCHANGE_DOWN."""
    closed = SpanSet.single(asked.start_ms, min(asked.end_ms, state.key.interval.floor(asked_ms)))
    state = _extend(state, closed, asked_ms)
    gaps = list(_without(state.gaps, closed))
    for gap in state.gaps:
        wait = min(policy.failed_retry_ms * 2 ** min(gap.attempts, 10), policy.failed_retry_cap_ms)
        gaps += (
            replace(
                gap,
                span=span,
                reason=reason if gap.reason in _UNANSWERED else gap.reason,
                attempts=gap.attempts + 1,
                next_try_ms=gap.next_try_ms if gap.is_dead else asked_ms + wait,
            )
            for span in SpanSet.single(*gap.span) & closed
        )
    return LedgerChange(replace(state, gaps=merged(gaps)))


def settle(state: SeriesState, final: SpanSet, empty: SpanSet, at_ms: int) -> LedgerChange:
    """Slots settled by what they are made of, not by an answer: derived candles, at ``at_ms``."""
    expected = SpanSet.single(state.expected_start_ms, at_ms if state.ended_ms is None else state.ended_ms)
    final, empty = final & expected, empty & expected
    state = _extend(state, final | empty, at_ms)
    gaps = merged(_without(state.gaps, final | empty))
    state = replace(state, gaps=gaps, has_history=state.has_history or bool(final))
    return LedgerChange(state, final=final, empty=empty)


def merged(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The same gaps in order, neighbours with the same story joined."""
    joined: list[Gap] = []
    for gap in sorted(gaps, key=lambda g: g.span):
        last = joined[-1] if joined else None
        if last and last.span.end_ms == gap.span.start_ms and replace(last, span=gap.span) == gap:
            joined[-1] = replace(last, span=Span(last.span.start_ms, gap.span.end_ms))
        else:
            joined.append(gap)
    return tuple(joined)


def _take_in(state: SeriesState, seen: SlotsSeen, answered: SpanSet, policy: ProofPolicy) -> SeriesState:
    """Bring the series up to the answer's instant: where it begins, ends, and how far it is known."""
    state = _extend(state, answered, seen.asked_ms)
    if seen.open_times and answered:
        state = _begin(state, seen.open_times[0], answered.spans[0].start_ms, seen.asked_ms)
    state = replace(state, emits_quiet_rows=state.emits_quiet_rows or seen.has_quiet_rows)
    return _end_if_delisted(state, seen, answered, policy)


def _begin(state: SeriesState, first_row: int, answered_from: int, asked_ms: int) -> SeriesState:
    """A first row later than everything asked for is the listing; an earlier one moves the listing back."""
    reachable = state.key.interval.oldest_reachable(asked_ms)
    asked_from_the_start = answered_from <= max(state.expected_start_ms, reachable)
    before = SpanSet.single(state.expected_start_ms, first_row)
    # newer slots may have been settled first, by a back-fill of a later month
    none_before = not state.has_history or not before - SpanSet.of(gap.span for gap in state.gaps)
    is_listing = asked_from_the_start and bool(before) and none_before
    is_older = state.first_open_ms is not None and first_row < state.first_open_ms
    if not (is_listing or is_older):
        return state
    gaps = _without(state.gaps, SpanSet.single(0, first_row))
    if is_older and state.first_open_ms is not None:
        # expected from now on, and nobody has spoken of them; the caller judges those that the answer covers
        gaps = (*gaps, Gap(Span(first_row, state.first_open_ms), GapReason.UNASKED, asked_ms))
    return replace(state, first_open_ms=first_row, gaps=gaps)


def _extend(state: SeriesState, spoken_of: SpanSet, asked_ms: int) -> SeriesState:
    """Let the ledger speak up to the end of ``spoken_of``; what lies between enters as never asked."""
    if not spoken_of:
        return state
    if state.never_answered:
        start = max(state.tracked_from_ms, state.key.interval.oldest_reachable(asked_ms))
        state = replace(state, tracked_from_ms=start, known_until_ms=start)
    end = spoken_of.spans[-1].end_ms
    if state.ended_ms is not None:
        end = min(end, state.ended_ms)
    if end <= state.known_until_ms:
        return state
    start = max(state.known_until_ms, state.expected_start_ms)
    entering = [Gap(Span(start, end), GapReason.UNASKED, asked_ms)] if start < end else []
    return replace(state, known_until_ms=end, gaps=(*state.gaps, *entering))


def _end_if_delisted(state: SeriesState, seen: SlotsSeen, answered: SpanSet, policy: ProofPolicy) -> SeriesState:
    """End a delisted series after its last row, once its silence has lasted long enough."""
    if state.delisted_since_ms is None or state.ended_ms is not None or not answered or seen.has_rejected_rows:
        return state
    reached_now = answered.spans[-1].end_ms >= state.key.interval.floor(seen.asked_ms)
    silent_long_enough = seen.asked_ms >= state.delisted_since_ms + policy.delisted_ends_after_ms
    if not (reached_now and silent_long_enough):
        return state
    after_last_row = seen.open_times[-1] + state.step_ms if seen.open_times else answered.spans[0].start_ms
    if after_last_row >= answered.spans[-1].end_ms:
        return state
    ended = max(after_last_row, state.expected_start_ms)
    gaps = _without(state.gaps, SpanSet.single(ended, answered.spans[-1].end_ms))
    return replace(state, ended_ms=ended, known_until_ms=min(state.known_until_ms, ended), gaps=gaps)


def _provisional(gap: Gap, slots: SpanSet, step_ms: int, policy: ProofPolicy) -> list[Gap]:
    return [
        Gap(span, GapReason.PROVISIONAL, span.start_ms + step_ms + policy.settle_ms, gap.attempts) for span in slots
    ]


def _judge_absence(
    gap: Gap, absent: SpanSet, state: SeriesState, seen: SlotsSeen, policy: ProofPolicy
) -> tuple[SpanSet, list[Gap]]:
    """Split absent slots of one gap into those now proven empty and those that stay a gap, with the reason."""
    if not absent:
        return SpanSet(), []
    if seen.has_rejected_rows:
        return SpanSet(), _stay(gap, absent, GapReason.REJECTED, None, seen.asked_ms, policy)
    bounded = absent & _between_rows(seen)
    proven = SpanSet()
    if not state.emits_quiet_rows and _absent_before(gap, seen.asked_ms, policy):
        old_enough = state.key.interval.floor(seen.asked_ms - policy.empty_age_ms)
        proven = bounded & SpanSet.single(0, old_enough)
    first_absent = seen.asked_ms if gap.first_absent_ms is None else gap.first_absent_ms
    waiting = _stay(gap, bounded - proven, GapReason.ABSENT, first_absent, seen.asked_ms, policy)
    unpublished = _stay(gap, absent - bounded, GapReason.UNPUBLISHED, None, seen.asked_ms, policy)
    return proven, waiting + unpublished


def _between_rows(seen: SlotsSeen) -> SpanSet:
    return SpanSet.single(seen.open_times[0], seen.open_times[-1]) if seen.open_times else SpanSet()


def _absent_before(gap: Gap, asked_ms: int, policy: ProofPolicy) -> bool:
    return gap.first_absent_ms is not None and asked_ms - gap.first_absent_ms >= policy.empty_apart_ms


def _stay(
    gap: Gap, slots: SpanSet, reason: GapReason, first_absent_ms: int | None, asked_ms: int, policy: ProofPolicy
) -> list[Gap]:
    """The slots remain a gap, to be asked for again when that can teach something.

    Any answer brings a dead gap back to life, but one that refuses its rows again.
    """
    if gap.is_dead and reason is gap.reason is GapReason.REJECTED:
        return [replace(gap, span=span, attempts=gap.attempts + 1) for span in slots]
    return [
        Gap(
            span,
            reason,
            _next_try(span, first_absent_ms, asked_ms, policy),
            gap.attempts + 1,
            first_absent_ms,
        )
        for span in slots
    ]


def _next_try(span: Span, first_absent_ms: int | None, asked_ms: int, policy: ProofPolicy) -> int:
    """Soon at first and while the slots are young, then when a second absence would prove them empty, then rarely."""
    soon = asked_ms + policy.absent_retry_ms
    if first_absent_ms == asked_ms:
        return soon
    provable = span.end_ms + policy.empty_age_ms
    if first_absent_ms is not None:
        provable = max(provable, first_absent_ms + policy.empty_apart_ms)
    if asked_ms < provable:
        return max(soon, provable) if first_absent_ms is not None else soon
    return asked_ms + policy.absent_retry_old_ms


def last_reread(state: SeriesState, number: int) -> int:
    """When a read last reached as far back as the policy's re-read ``number``; 0 if none has."""
    return state.reread_ms[number] if number < len(state.reread_ms) else 0


def _reread(state: SeriesState, answered: SpanSet, asked_ms: int, policy: ProofPolicy) -> tuple[int, ...]:
    """Note which re-reads this answer has done: those whose slots it covers.

    A request that waited for its weight ends where the live edge was when it was planned; what is missing of the newest
    slots is too young to be read again.
    """
    interval = state.key.interval

    def is_done(reread: Reread) -> bool:
        wanted = SpanSet.single(
            max(interval.floor(asked_ms - reread.reach_ms), state.expected_start_ms),
            interval.floor(asked_ms - reread.age_ms),
        )
        return bool(answered) and not wanted - answered

    return tuple(
        asked_ms if is_done(reread) else last_reread(state, number)
        for number, reread in enumerate(policy.rereads_of(state, asked_ms))
    )


def _until_confirmed(
    gaps: Iterable[Gap], state: SeriesState, answered: SpanSet, asked_ms: int, policy: ProofPolicy
) -> list[Gap]:
    """The gaps at the live edge that an answer left wait for the next confirmation: the stream shows what happens."""
    next_ms = confirm_at(
        state.series_id,
        state.is_derived,
        state.key.interval.floor(asked_ms) + state.step_ms,
        every_ms=policy.confirm_ms,
        settle_ms=policy.settle_ms,
    )
    edge_ms = asked_ms - _EDGE_SLOTS * state.step_ms
    return [
        replace(gap, next_try_ms=max(gap.next_try_ms, next_ms))
        if gap.span.start_ms >= edge_ms and SpanSet.single(*gap.span) & answered
        else gap
        for gap in gaps
    ]


def _without(gaps: Iterable[Gap], slots: SpanSet) -> tuple[Gap, ...]:
    """The gaps with ``slots`` cut out of them."""
    return tuple(replace(gap, span=span) for gap in gaps for span in SpanSet.single(*gap.span) - slots)
