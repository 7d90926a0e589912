"""Each due slot is asked for by the tick or by the drain; the drain goes by deadline, then by volume."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.gap_queue import LIVE_SLOTS, in_order, lane_of, live_slots, queued_slots, summed_up
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.ledger import Gap, GapReason, ProofPolicy, SeriesState
from hl_pipeline.model.open_gap import DEADLINE_NEAR_MS, OpenGap
from hl_pipeline.model.plan import PlannedRequest, due_slots, plan
from hl_pipeline.model.span import Span, SpanSet

MINUTE, HOUR = 60_000, 3_600_000
NOW = 1_700_000_000_000 // MINUTE * MINUTE + 20_000
EDGE = NOW // MINUTE * MINUTE
POLICY = ProofPolicy()
BTC = SeriesKey("BTC", Interval.M1)


def known(*gaps: Gap, until_ms: int = EDGE, has_history: bool = True) -> SeriesState:
    start = Interval.M1.oldest_reachable(NOW)
    return SeriesState(1, BTC, start, until_ms, has_history=has_history, reread_ms=(NOW, NOW), gaps=gaps)


def gap(slots_ago: int, slots: int = 1, reason: GapReason = GapReason.ABSENT) -> Gap:
    start = EDGE - slots_ago * MINUTE
    return Gap(Span(start, start + slots * MINUTE), reason, NOW, 1)


def asked(state: SeriesState, *, live: bool) -> SpanSet:
    requests = plan([state], NOW, POLICY, only=live_slots if live else queued_slots)
    return SpanSet.of((planned.request.start_ms, planned.request.end_ms) for planned in requests)


def request(coin: str, deadline_ms: int) -> PlannedRequest:
    span = CandleRequest(SeriesKey(coin, Interval.M1), 0, MINUTE)
    return PlannedRequest(len(coin) + ord(coin[0]), span, 21, deadline_ms, 1)


@given(
    st.lists(st.tuples(st.integers(1, WINDOW_SLOTS - 1), st.integers(1, 50)), max_size=8),
    st.integers(0, WINDOW_SLOTS - 1),
    st.booleans(),
)
def test_every_due_slot_is_asked_for_by_one_of_the_two(
    runs: list[tuple[int, int]], behind: int, has_history: bool
) -> None:
    until = EDGE - behind * MINUTE
    inside = SpanSet.of((EDGE - ago * MINUTE, EDGE - max(ago - length, 0) * MINUTE) for ago, length in runs)
    gaps = [Gap(span, GapReason.ABSENT, NOW, 1) for span in inside & SpanSet.single(0, until)]
    state = known(*gaps, until_ms=until, has_history=has_history)
    due = due_slots(state, NOW, POLICY)
    assert not live_slots(state, NOW) & queued_slots(state, NOW)
    assert not due - (asked(state, live=True) | asked(state, live=False))


def test_a_tick_after_a_long_outage_reads_the_newest_four_hours_and_the_drain_the_rest() -> None:
    state = known(until_ms=EDGE - 3000 * MINUTE)
    (tick,) = asked(state, live=True)
    assert tick == Span(EDGE - (LIVE_SLOTS - 1 + 15) * MINUTE, EDGE + MINUTE)
    (queued,) = asked(state, live=False)
    assert queued.start_ms == EDGE - 3015 * MINUTE
    assert queued.end_ms < EDGE


def test_a_series_without_history_is_the_ticks_affair_whole() -> None:
    state = replace(known(has_history=False), known_until_ms=Interval.M1.oldest_reachable(NOW))
    assert asked(state, live=True).slots(MINUTE) == WINDOW_SLOTS
    assert not asked(state, live=False)


def test_a_gap_behind_the_edge_is_not_the_ticks_affair() -> None:
    assert not asked(known(gap(LIVE_SLOTS)), live=True)
    assert asked(known(gap(LIVE_SLOTS)), live=False)
    assert asked(known(gap(LIVE_SLOTS - 1)), live=True)
    assert not asked(known(gap(LIVE_SLOTS - 1)), live=False)


def test_the_deadline_of_a_request_is_that_of_the_gap_not_of_its_margin() -> None:
    (planned,) = plan([known(gap(2000, 3))], NOW, POLICY, only=queued_slots)
    assert planned.request.start_ms < EDGE - 2000 * MINUTE
    assert (planned.deadline_ms, planned.wanted) == (Interval.M1.deadline(EDGE - 2000 * MINUTE), 3)


def test_under_twelve_hours_a_gap_is_urgent() -> None:
    assert lane_of(request("BTC", NOW + DEADLINE_NEAR_MS - 1), NOW) is Lane.URGENT_GAP
    assert lane_of(request("BTC", NOW + DEADLINE_NEAR_MS), NOW) is Lane.GAP


VOLUMES = st.dictionaries(st.sampled_from(["BTC", "ETH", "SOL"]), st.floats(0, 1e12))
REQUESTS = st.lists(st.builds(request, st.sampled_from(["BTC", "ETH", "SOL", "NEW"]), st.integers(0, 5)))


@given(REQUESTS, VOLUMES)
def test_the_order_is_nearest_deadline_then_larger_volume_and_loses_nothing(
    requests: list[PlannedRequest], volumes: dict[str, float]
) -> None:
    ordered = in_order(requests, volumes)
    assert sorted(ordered, key=repr) == sorted(requests, key=repr)
    ranks = [(found.deadline_ms, -volumes.get(found.request.series.coin, 0.0)) for found in ordered]
    assert ranks == sorted(ranks)
    assert in_order(reversed(requests), volumes) == ordered


def test_the_queue_in_figures_leaves_out_what_only_waits_for_its_turn() -> None:
    def put(at_ms: int, slots: int, reason: GapReason, *, young: bool = False) -> OpenGap:
        span = Span(at_ms, at_ms + slots * MINUTE)
        return OpenGap(BTC, span, slots, reason, 1, NOW, Interval.M1.deadline(at_ms), young)

    found = summed_up(
        [
            put(5 * HOUR, 2, GapReason.ABSENT),
            put(3 * HOUR, 9, GapReason.EXCHANGE_DOWN),
            put(9 * HOUR, 1, GapReason.ABSENT),
            put(1 * HOUR, 4, GapReason.PROVISIONAL, young=True),
        ]
    )
    assert (found.gaps, found.slots) == (3, 12)
    assert list(found.slots_by_reason.items()) == [(GapReason.EXCHANGE_DOWN, 9), (GapReason.ABSENT, 3)]
    assert (found.deadline_ms, found.oldest_ms) == (Interval.M1.deadline(3 * HOUR), 3 * HOUR)
    deadline = Interval.M1.deadline(3 * HOUR)
    assert found.story(deadline - 52 * HOUR) == "12 slots in 3 gaps, the first recoverable for 2 d 4 h"
    assert summed_up([]).story(0) == "no gap is open"
