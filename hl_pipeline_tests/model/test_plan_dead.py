"""Dead slots are asked for alone, at their own time, and nothing else waits for them or fails with them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.ledger import Gap, GapReason, ProofPolicy, SeriesState, fail
from hl_pipeline.model.plan import EDGE_PATIENCE_MS, plan
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline_tests.fakes import series

MINUTE = 60_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
NOW = NOON + 20_000
NEVER = NOON + 10_000 * MINUTE
POLICY = ProofPolicy()


def minutes_ago(first: int, last: int) -> Span:
    """The slots that opened ``first`` minutes ago or later, and before ``last`` minutes ago."""
    return Span(NOON - first * MINUTE, NOON - last * MINUTE)


def dead(span: Span, next_try_ms: int = NEVER, reason: GapReason = GapReason.FAILED) -> Gap:
    return Gap(span, reason, next_try_ms, 5, is_dead=True)


def state(*gaps: Gap, known_until_ms: int = NOON - MINUTE, reread_ms: tuple[int, ...] = (NOW, NOW)) -> SeriesState:
    return SeriesState(
        1, series(), NOON - 4000 * MINUTE, known_until_ms, has_history=True, reread_ms=reread_ms, gaps=gaps
    )


def asked(found: SeriesState, now_ms: int = NOW) -> list[Span]:
    requests = [planned.request for planned in plan([found], now_ms, POLICY)]
    return sorted(Span(request.start_ms, request.end_ms) for request in requests)


def test_a_read_at_the_live_edge_stops_short_of_dead_slots() -> None:
    assert asked(state(dead(minutes_ago(30, 20)))) == [Span(NOON - 20 * MINUTE, NOON + MINUTE)]


def test_a_dead_slot_whose_row_is_refused_comes_along_for_it_spoils_nothing() -> None:
    ((start, end),) = asked(state(dead(minutes_ago(30, 20), reason=GapReason.REJECTED)))
    assert (start, end) == (NOON - 59 * MINUTE, NOON + MINUTE)


def test_the_margin_of_a_gap_ends_at_dead_slots_and_gaps_are_not_joined_over_them() -> None:
    gaps = [
        Gap(minutes_ago(1000, 990), GapReason.ABSENT, NOW, 1),
        dead(minutes_ago(989, 980)),
        Gap(minutes_ago(975, 970), GapReason.ABSENT, NOW, 1),
    ]
    older, newer = asked(state(*gaps, known_until_ms=NOON))
    assert older == minutes_ago(1030, 989)
    assert newer == minutes_ago(980, 940)


def test_a_dead_slot_that_is_due_is_asked_for_alone_and_as_it_is() -> None:
    gaps = [dead(minutes_ago(1000, 990), NOW), Gap(minutes_ago(990, 980), GapReason.ABSENT, NOW, 1)]
    assert asked(state(*gaps, known_until_ms=NOON)) == [minutes_ago(1000, 990), minutes_ago(990, 950)]


def test_a_re_read_waits_while_dead_slots_lie_in_its_way_instead_of_being_due_for_ever() -> None:
    assert asked(state(reread_ms=(0, 0)))[0].start_ms < NOON - 2000 * MINUTE
    assert asked(state(dead(minutes_ago(300, 290)), reread_ms=(NOW, 0))) == [minutes_ago(59, -1)]


def test_beside_a_dead_window_the_newest_slots_are_asked_for_ever_more_rarely() -> None:
    def waits(length: int) -> int:
        found = state(dead(minutes_ago(length, 0)), known_until_ms=NOON)
        return next(n for n in range(60) if asked(found, NOW + n * MINUTE))

    assert [waits(length) for length in (3, 10, 40, 100, 400)] == [1, 3, 10, 25, EDGE_PATIENCE_MS // MINUTE]


def test_the_newest_slots_do_not_wait_for_dead_ones_that_have_others_between() -> None:
    assert asked(state(dead(minutes_ago(100, 2)), known_until_ms=NOON - MINUTE))


def test_a_person_who_asks_for_a_span_gets_its_dead_slots_too_but_alone() -> None:
    found = state(dead(minutes_ago(200, 190)), Gap(minutes_ago(190, 180), GapReason.ABSENT, NEVER, 1))
    requests = [planned.request for planned in plan([found], NOW, POLICY, window=minutes_ago(200, 180))]
    spans = sorted(Span(request.start_ms, request.end_ms) for request in requests)
    assert spans == [minutes_ago(200, 190), minutes_ago(190, 150)]


def test_a_failure_along_the_way_does_not_make_a_dead_slot_due() -> None:
    change = fail(state(dead(minutes_ago(30, 20))), minutes_ago(60, -1), NOW, POLICY)
    (kept,) = [gap for gap in change.state.gaps if gap.is_dead]
    assert (kept.next_try_ms, kept.attempts) == (NEVER, 6)


@st.composite
def series_with_dead_windows(draw: st.DrawFn) -> SeriesState:
    edges = sorted(draw(st.sets(st.integers(1, 3000), min_size=2, max_size=12)), reverse=True)
    gaps = [
        Gap(
            minutes_ago(older, newer),
            draw(st.sampled_from([GapReason.FAILED, GapReason.ABSENT])),
            draw(st.sampled_from([NOW, NEVER])),
            draw(st.integers(1, 9)),
            is_dead=draw(st.booleans()),
        )
        for older, newer in zip(edges[::2], edges[1::2], strict=False)
    ]
    rereads = draw(st.tuples(st.sampled_from([0, NOW]), st.sampled_from([0, NOW])))
    return replace(state(*sorted(gaps, key=lambda gap: gap.span)), reread_ms=rereads)


@given(series_with_dead_windows())
def test_no_request_mixes_dead_slots_with_others_and_every_due_slot_is_asked_for(found: SeriesState) -> None:
    spans = [SpanSet.single(*span) for span in asked(found)]
    dead_slots = SpanSet.of(gap.span for gap in found.gaps if gap.is_dead)
    for span in spans:
        assert not span & dead_slots or not span - dead_slots
    due = SpanSet.of(gap.span for gap in found.gaps if gap.next_try_ms <= NOW)
    assert not due - SpanSet.of(span.spans[0] for span in spans)
