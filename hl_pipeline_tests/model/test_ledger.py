"""What an answer proves: each rule by example, and the ledger's invariant under any sequence of answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.ledger import (
    Gap,
    GapReason,
    LedgerChange,
    ProofPolicy,
    SeriesState,
    SlotsSeen,
    expire,
    fail,
    prove,
)
from hl_pipeline.model.plan import due_slots, plan
from hl_pipeline.model.span import Span, SpanSet

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_700_006_400_000 // (24 * HOUR) * 24 * HOUR + 12 * HOUR
POLICY = ProofPolicy()


def series(tracked_from: int = NOON - 10 * MINUTE, **changes: object) -> SeriesState:
    fields: dict[str, object] = {"known_until_ms": tracked_from, **changes}
    return SeriesState(1, SeriesKey("BTC", Interval.M1), tracked_from, **fields)  # type: ignore[arg-type]


def seen(opens: list[int], *, asked_ms: int, start: int = NOON - 10 * MINUTE, **flags: bool) -> SlotsSeen:
    return SlotsSeen(Span(start, asked_ms // MINUTE * MINUTE + MINUTE), asked_ms, opens, **flags)


def minutes(first: int, last: int) -> list[int]:
    """Open times from ``first`` to ``last`` minutes relative to noon, both included."""
    return [NOON + minute * MINUTE for minute in range(first, last + 1)]


def reasons(change: LedgerChange) -> list[tuple[GapReason, int]]:
    return [(gap.reason, SpanSet.single(*gap.span).slots(MINUTE)) for gap in change.state.gaps]


def test_a_slot_read_after_close_and_settle_is_final_and_the_newest_is_provisional() -> None:
    change = prove(series(), seen(minutes(-10, 0), asked_ms=NOON + 5_000), POLICY)
    assert change.final == SpanSet.single(NOON - 10 * MINUTE, NOON - MINUTE)
    assert change.state.gaps == (Gap(Span(NOON - MINUTE, NOON), GapReason.PROVISIONAL, NOON + POLICY.settle_ms),)
    assert change.state.known_until_ms == NOON


def test_an_absent_slot_between_rows_waits_to_be_proven_empty() -> None:
    rows = [at for at in minutes(-10, 0) if at != NOON - 5 * MINUTE]
    change = prove(series(), seen(rows, asked_ms=NOON + 15_000), POLICY)
    assert reasons(change) == [(GapReason.ABSENT, 1)]
    assert not change.empty


def test_absence_twice_half_an_hour_apart_and_two_hours_after_close_proves_emptiness() -> None:
    rows = [at for at in minutes(-10, 0) if at != NOON - 5 * MINUTE]
    state = prove(series(), seen(rows, asked_ms=NOON + 15_000), POLICY).state
    early = NOON - 4 * MINUTE + 2 * HOUR - MINUTE
    late = NOON - 4 * MINUTE + 2 * HOUR
    assert not prove(state, seen([*rows, *minutes(1, 300)][: 11 + 116], asked_ms=early), POLICY).empty
    proven = prove(state, seen([at for at in [*rows, *minutes(1, 120)] if at < late], asked_ms=late), POLICY)
    assert proven.empty == SpanSet.single(NOON - 5 * MINUTE, NOON - 4 * MINUTE)


def test_absence_proves_nothing_on_a_series_that_publishes_quiet_minutes() -> None:
    rows = [at for at in minutes(-10, 120) if at != NOON - 5 * MINUTE]
    state = prove(series(), seen(rows[:10], asked_ms=NOON + 15_000, has_quiet_rows=True), POLICY).state
    later = prove(state, seen(rows, asked_ms=NOON + 121 * MINUTE), POLICY)
    assert not later.empty
    assert (GapReason.ABSENT, 1) in reasons(later)


def test_absence_proves_nothing_when_the_answer_held_a_rejected_row() -> None:
    rows = [at for at in minutes(-10, 0) if at != NOON - 5 * MINUTE]
    change = prove(series(), seen(rows, asked_ms=NOON + 15_000, has_rejected_rows=True), POLICY)
    assert reasons(change) == [(GapReason.REJECTED, 1)]
    assert change.state.gaps[0].first_absent_ms is None


def test_a_late_row_turns_an_empty_slot_final() -> None:
    state = series(known_until_ms=NOON, has_history=True)
    change = prove(state, seen(minutes(-10, 0), asked_ms=NOON + 15_000), POLICY)
    assert NOON - 5 * MINUTE in change.final


def test_an_empty_answer_for_a_live_market_settles_nothing() -> None:
    change = prove(series(), seen([], asked_ms=NOON + 15_000), POLICY)
    assert not change.final
    assert not change.empty
    assert reasons(change) == [(GapReason.UNPUBLISHED, 10)]


def test_a_first_answer_that_begins_late_names_the_listing() -> None:
    change = prove(series(), seen(minutes(-4, 0), asked_ms=NOON + 15_000), POLICY)
    assert change.state.first_open_ms == NOON - 4 * MINUTE
    assert change.state.gaps == ()


def test_a_late_first_row_is_no_listing_once_older_rows_are_known() -> None:
    state = series(known_until_ms=NOON - 10 * MINUTE + MINUTE, has_history=True)
    change = prove(state, seen(minutes(-4, 0), asked_ms=NOON + 15_000), POLICY)
    assert change.state.first_open_ms is None
    assert reasons(change) == [(GapReason.UNPUBLISHED, 5)]


def test_a_market_delisted_before_we_knew_it_ends_after_its_last_row() -> None:
    state = series(delisted_since_ms=0)
    change = prove(state, seen(minutes(-10, -7), asked_ms=NOON + 15_000), POLICY)
    assert change.state.ended_ms == NOON - 6 * MINUTE
    assert change.state.gaps == ()
    assert not due_slots(change.state, NOON + HOUR, POLICY)


def test_a_delisted_market_with_nothing_in_reach_expects_nothing() -> None:
    change = prove(series(delisted_since_ms=0), seen([], asked_ms=NOON + 15_000), POLICY)
    assert change.state.ended_ms == change.state.expected_start_ms
    assert change.state.gaps == ()


def test_silence_right_after_delisting_is_not_yet_the_end() -> None:
    state = series(delisted_since_ms=NOON)
    change = prove(state, seen(minutes(-10, -7), asked_ms=NOON + 15_000), POLICY)
    assert change.state.ended_ms is None
    assert reasons(change) == [(GapReason.UNPUBLISHED, 6)]


def test_a_failed_request_waits_longer_each_time() -> None:
    asked = Span(NOON - 10 * MINUTE, NOON)
    once = fail(series(), asked, NOON, POLICY).state
    twice = fail(once, asked, NOON + MINUTE, POLICY).state
    assert [gap.attempts for gap in twice.gaps] == [2]
    assert once.gaps[0].reason is GapReason.FAILED
    assert once.gaps[0].next_try_ms == NOON + MINUTE
    assert twice.gaps[0].next_try_ms == NOON + 3 * MINUTE


def test_of_unanswered_requests_the_last_says_why_and_a_known_absence_keeps_its_story() -> None:
    asked = Span(NOON - 10 * MINUTE, NOON)
    down = fail(series(), asked, NOON, POLICY, GapReason.EXCHANGE_DOWN)
    assert reasons(down) == [(GapReason.EXCHANGE_DOWN, 10)]
    assert reasons(fail(down.state, asked, NOON + MINUTE, POLICY)) == [(GapReason.FAILED, 10)]
    absent = replace(down.state, gaps=(Gap(asked, GapReason.ABSENT, NOON, 1, NOON),))
    (kept,) = fail(absent, asked, NOON + MINUTE, POLICY, GapReason.EXCHANGE_DOWN).state.gaps
    assert (kept.reason, kept.first_absent_ms, kept.attempts) == (GapReason.ABSENT, NOON, 2)


def test_a_failure_before_the_first_answer_does_not_hide_the_listing() -> None:
    failed = fail(series(), Span(NOON - 10 * MINUTE, NOON), NOON, POLICY).state
    change = prove(failed, seen(minutes(-4, 1), asked_ms=NOON + 75_000), POLICY)
    assert change.state.first_open_ms == NOON - 4 * MINUTE


def test_what_the_exchange_forgot_is_lost_and_no_longer_wanted() -> None:
    state = series(known_until_ms=NOON, has_history=True)
    much_later = NOON + (WINDOW_SLOTS + 99) * MINUTE
    change = expire(state, much_later)
    assert change.lost == SpanSet.single(NOON, NOON + 100 * MINUTE)
    assert due_slots(change.state, much_later + 20_000, POLICY).slots(MINUTE) == WINDOW_SLOTS - 1


def test_a_series_never_answered_loses_nothing_while_it_waits() -> None:
    tracked_from = Interval.M1.oldest_reachable(NOON)
    change = expire(series(tracked_from), NOON + 30 * MINUTE)
    assert not change.lost
    assert change.state.tracked_from_ms == tracked_from + 30 * MINUTE


@dataclass
class Ledger:
    """The whole ledger of one series, as the database keeps it."""

    state: SeriesState
    final: SpanSet = field(default_factory=SpanSet)
    empty: SpanSet = field(default_factory=SpanSet)
    lost: SpanSet = field(default_factory=SpanSet)

    def apply(self, change: LedgerChange) -> None:
        self.state = change.state
        self.final |= change.final
        self.empty = (self.empty | change.empty) - change.final
        self.lost = (self.lost | change.lost) - change.final

    def check(self) -> None:
        gaps = SpanSet.of(gap.span for gap in self.state.gaps)
        parts = [self.final, self.empty, self.lost, gaps]
        assert sum(part.total_ms for part in parts) == (self.final | self.empty | self.lost | gaps).total_ms
        expected = SpanSet.single(self.state.expected_start_ms, self.state.known_until_ms)
        assert expected - (self.final | self.empty | self.lost) == gaps


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_slot_is_in_exactly_one_state_after_any_sequence_of_answers_and_failures(data: st.DataObject) -> None:
    now = NOON
    ledger = Ledger(series(Interval.M1.oldest_reachable(NOON), delisted_since_ms=data.draw(st.sampled_from([None, 0]))))
    for _ in range(data.draw(st.integers(1, 8))):
        now += data.draw(st.integers(0, 60)) * MINUTE + data.draw(st.integers(0, 59_999))
        if data.draw(st.booleans(), label="long outage") and data.draw(st.booleans()):
            now += data.draw(st.integers(0, WINDOW_SLOTS + 200)) * MINUTE
        ledger.apply(expire(ledger.state, now))
        for planned in plan([ledger.state], now, POLICY):
            if data.draw(st.booleans(), label="fails"):
                ledger.apply(fail(ledger.state, Span(planned.request.start_ms, planned.request.end_ms), now, POLICY))
                continue
            start, end = planned.request.start_ms, planned.request.end_ms
            holes = data.draw(st.sets(st.integers(0, 80), max_size=10), label="absent, counted from the newest")
            cut = data.draw(st.sampled_from([0, 0, 3000]), label="rows not there at the old end")
            opens = list(range(start + cut * MINUTE, min(end, now), MINUTE))
            opens = [at for i, at in enumerate(reversed(opens)) if i not in holes][::-1]
            flags = data.draw(st.sampled_from([{}, {"has_rejected_rows": True}, {"has_quiet_rows": True}]))
            ledger.apply(prove(ledger.state, SlotsSeen(Span(start, end), now, opens, **flags), POLICY))
        ledger.check()


def test_a_reread_that_waited_minutes_for_its_weight_counts_all_the_same() -> None:
    hourly, _ = POLICY.rereads
    start = NOON - 2 * hourly.reach_ms
    state = series(tracked_from=start, known_until_ms=NOON, has_history=True)
    planned_end, asked_ms = NOON + MINUTE, NOON + 12 * MINUTE
    asked = Span(NOON - hourly.reach_ms - HOUR, planned_end)
    rows = list(range(asked.start_ms, asked.end_ms, MINUTE))
    change = prove(state, SlotsSeen(asked, asked_ms, rows), POLICY)
    assert change.state.reread_ms[0] == asked_ms
    short = Span(NOON - hourly.reach_ms + HOUR, planned_end)
    change = prove(state, SlotsSeen(short, asked_ms, rows), POLICY)
    assert change.state.reread_ms[0] == 0


def test_what_is_forgotten_between_a_failed_first_request_and_the_first_answer_is_not_lost() -> None:
    tracked = Interval.M1.oldest_reachable(NOON)
    asked = Span(tracked, NOON + MINUTE)
    failed = fail(series(tracked_from=tracked), asked, NOON + 1, POLICY).state
    later_ms = NOON + 2 * MINUTE
    change = expire(failed, later_ms)
    assert not change.lost
    assert change.state.tracked_from_ms == Interval.M1.oldest_reachable(later_ms)
    listed = NOON - 600 * MINUTE
    rows = list(range(listed, later_ms, MINUTE))
    whole = Span(Interval.M1.oldest_reachable(later_ms), later_ms + MINUTE)
    answered = prove(change.state, SlotsSeen(whole, later_ms + 15_000, rows), POLICY)
    assert answered.state.first_open_ms == listed
    assert answered.state.gaps == ()
