"""Plans ask for what is due, once, at the lowest price."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.ledger import Gap, GapReason, ProofPolicy, Reread, SeriesState, SlotsSeen, prove
from hl_pipeline.model.plan import EDGE_SLOTS, MARGIN_SLOTS, due_slots, pack, plan
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.model.tariff import request_weight

MINUTE = 60_000
NOW = 1_700_000_000_000 // MINUTE * MINUTE + 20_000
POLICY = ProofPolicy()


def fresh(interval: Interval = Interval.M1) -> SeriesState:
    start = interval.oldest_reachable(NOW)
    return SeriesState(1, SeriesKey("BTC", interval), start, start)


def known(*gaps: Gap, until: int = NOW // MINUTE * MINUTE, reread_ms: tuple[int, ...] = (NOW, NOW)) -> SeriesState:
    start = Interval.M1.oldest_reachable(NOW)
    key = SeriesKey("BTC", Interval.M1)
    return SeriesState(1, key, start, until, has_history=True, reread_ms=reread_ms, gaps=gaps)


def test_a_new_series_is_one_request_for_all_the_exchange_has() -> None:
    for interval in Interval:
        (planned,) = plan([fresh(interval)], NOW, POLICY)
        assert planned.request.slots == WINDOW_SLOTS
        assert planned.weight == 104


def test_asking_twice_without_the_clock_moving_asks_nothing() -> None:
    state = fresh()
    (planned,) = plan([state], NOW, POLICY)
    rows = list(range(planned.request.start_ms, planned.request.end_ms, MINUTE))
    asked = Span(planned.request.start_ms, planned.request.end_ms)
    state = prove(state, SlotsSeen(asked, NOW, rows), POLICY).state
    assert plan([state], NOW, POLICY) == []


def test_a_tick_reads_the_last_sixty_slots_for_twenty_one_weight() -> None:
    (planned,) = plan([known(until=NOW // MINUTE * MINUTE - MINUTE)], NOW, POLICY)
    assert planned.request.slots == EDGE_SLOTS
    assert planned.request.end_ms == NOW // MINUTE * MINUTE + MINUTE
    assert planned.weight == 21


def test_a_read_at_the_edge_reaches_back_three_hours_once_an_hour_and_a_day_twice_a_day() -> None:
    hourly, twice_a_day = POLICY.rereads

    def reach_in_minutes(*marks: int) -> int:
        (planned,) = plan([known(until=NOW // MINUTE * MINUTE - MINUTE, reread_ms=marks)], NOW, POLICY)
        return (NOW // MINUTE * MINUTE - planned.request.start_ms) // MINUTE

    this_hour, this_half_day = oldest_mark_not_due(hourly), oldest_mark_not_due(twice_a_day)
    assert reach_in_minutes(this_hour, this_half_day) == EDGE_SLOTS - 1
    assert reach_in_minutes(this_hour - MINUTE, this_half_day) == 4 * 60
    assert reach_in_minutes(this_hour, this_half_day - MINUTE) == 36 * 60


def oldest_mark_not_due(reread: Reread) -> int:
    """The oldest whole minute before now at which a read is still of the series' present period."""
    ages = range(reread.every_ms // MINUTE + 1)
    return NOW - max(age for age in ages if not reread.is_due(1, NOW - age * MINUTE, NOW)) * MINUTE


def test_each_series_is_read_again_at_an_hour_of_its_own() -> None:
    (daily,) = POLICY.reconciliations
    hours = Counter(
        next(hour for hour in range(24) if daily.is_due(series_id, NOW, NOW + (hour + 1) * 60 * MINUTE))
        for series_id in range(1, 1201)
    )
    assert set(hours) == set(range(24))
    assert max(hours.values()) <= 2 * min(hours.values())


def test_nothing_is_asked_only_to_be_read_again() -> None:
    assert plan([known(reread_ms=())], NOW, POLICY) == []


def test_a_day_of_ticks_costs_little_more_for_the_re_reads() -> None:
    state, now, weight = known(), NOW, 0
    for _ in range(24 * 60):
        now += MINUTE
        for planned in plan([state], now, POLICY):
            asked = Span(planned.request.start_ms, planned.request.end_ms)
            rows = list(range(asked.start_ms, asked.end_ms, MINUTE))
            state = prove(state, SlotsSeen(asked, now, rows), POLICY).state
            weight += request_weight("candleSnapshot", len(rows))
    hourly, twice_a_day = 4, 36  # weight of 241 and of 2161 rows, less that of 60
    assert 0 < weight - 24 * 60 * 21 <= 24 * hourly + 2 * twice_a_day


def test_a_slot_is_not_due_before_it_has_settled() -> None:
    closed = NOW // MINUTE * MINUTE
    state = known(until=closed - MINUTE)
    assert not due_slots(state, closed + POLICY.settle_ms - 1, POLICY)
    assert due_slots(state, closed + POLICY.settle_ms, POLICY).slots(MINUTE) == 1


def test_a_gap_waits_for_its_next_try_unless_a_person_names_a_window() -> None:
    span = Span(NOW // MINUTE * MINUTE - 600 * MINUTE, NOW // MINUTE * MINUTE - 590 * MINUTE)
    state = known(Gap(span, GapReason.ABSENT, NOW + MINUTE, 1, NOW))
    assert plan([state], NOW, POLICY) == []
    (planned,) = plan([state], NOW, POLICY, window=Span(span.start_ms, span.start_ms + 1))
    slot = Span(span.start_ms, span.start_ms + MINUTE)
    assert (planned.request.start_ms, planned.request.end_ms) == (
        slot.start_ms - 2 * MARGIN_SLOTS * MINUTE,
        slot.end_ms + 2 * MARGIN_SLOTS * MINUTE,
    )


def test_a_gap_is_asked_for_with_neighbours_on_both_sides_and_more_of_them_each_time() -> None:
    span = Span(NOW // MINUTE * MINUTE - 2000 * MINUTE, NOW // MINUTE * MINUTE - 1999 * MINUTE)
    reach = []
    for attempts in (0, 1, 2):
        (planned,) = plan([known(Gap(span, GapReason.ABSENT, NOW, attempts, NOW - MINUTE))], NOW, POLICY)
        reach.append((span.start_ms - planned.request.start_ms, planned.request.end_ms - span.end_ms))
    assert reach == [(n * MINUTE, n * MINUTE) for n in (15, 30, 60)]


def test_the_nearest_deadline_comes_first() -> None:
    requests = plan([fresh(Interval.D1), fresh(Interval.M1), fresh(Interval.H1)], NOW, POLICY)
    assert [p.request.series.interval for p in requests] == [Interval.M1, Interval.H1, Interval.D1]


@given(st.sets(st.integers(0, WINDOW_SLOTS - 2), min_size=1, max_size=12))
def test_packing_covers_every_wanted_slot_and_never_costs_more_than_asking_one_by_one(wanted: set[int]) -> None:
    slots = SpanSet.of((n * MINUTE, (n + 1) * MINUTE) for n in wanted)
    packed = pack(slots, MINUTE)
    assert not slots - SpanSet.of(packed)
    apart = sum(request_weight("candleSnapshot", span.length_ms // MINUTE) for span in slots)
    assert sum(request_weight("candleSnapshot", span.length_ms // MINUTE) for span in packed) <= apart


def derived(*unsettled: Span, until: int) -> SeriesState:
    """A 5m series whose slots are settled up to ``until``, but for these, whose minutes are late."""
    key = SeriesKey("BTC", Interval.M5)
    gaps = tuple(Gap(span, GapReason.UNASKED, 0) for span in unsettled)
    start = Interval.M5.oldest_reachable(NOW)
    return SeriesState(1, key, start, until, has_history=True, is_derived=True, reread_ms=(NOW,), gaps=gaps)


def five_minutes(back: int) -> Span:
    """The 5m slot that closed ``back`` slots before the newest closed one."""
    end = Interval.M5.floor(NOW - POLICY.settle_ms) - back * 5 * MINUTE
    return Span(end - 5 * MINUTE, end)


@pytest.mark.parametrize("is_newest", [True, False])
def test_a_derived_slot_is_asked_for_once_a_late_minute_had_its_time(is_newest: bool) -> None:
    def state(back: int) -> SeriesState:
        slot = five_minutes(back)
        return derived(until=slot.start_ms) if is_newest else derived(slot, until=five_minutes(0).end_ms)

    assert plan([state(2)], NOW, POLICY) == []
    (planned,) = plan([state(6)], NOW, POLICY)
    assert Span(five_minutes(6).start_ms, five_minutes(6).end_ms) == Span(
        max(planned.request.start_ms, five_minutes(6).start_ms), min(planned.request.end_ms, five_minutes(6).end_ms)
    )


def test_a_request_that_waited_for_its_weight_still_ends_at_the_live_edge() -> None:
    (edge,) = plan([known(until=NOW // MINUTE * MINUTE - MINUTE)], NOW, POLICY)
    late = NOW + 11 * MINUTE
    assert edge.at(NOW) == edge.request
    assert edge.at(late) == replace(edge.request, end_ms=Interval.M1.floor(late) + MINUTE)
    old = Gap(Span(NOW // MINUTE * MINUTE - 900 * MINUTE, NOW // MINUTE * MINUTE - 899 * MINUTE), GapReason.FAILED, NOW)
    (behind,) = plan([known(old)], NOW, POLICY)
    assert behind.at(late) == behind.request
