"""Where a series begins, when its newer part was read before the older: a back-fill of one month comes first."""

from __future__ import annotations

from dataclasses import replace

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.forecast import unknown_series
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import GapReason, LedgerChange, ProofPolicy, SeriesState, SlotsSeen, prove
from hl_pipeline.model.span import Span, SpanSet

HOUR = Interval.H1.milliseconds
#: 2026-01-10T12:00:20Z
NOW = 1_768_046_420_000
OPEN = Interval.H1.floor(NOW)
LISTED = OPEN - 960 * HOUR
POLICY = ProofPolicy()


def read(state: SeriesState, start_ms: int, *, hidden: tuple[int, ...] = ()) -> LedgerChange:
    """The exchange's answer from ``start_ms`` to now: a row an hour since the listing, but for the hidden."""
    opens = [at for at in range(max(start_ms, LISTED), OPEN + HOUR, HOUR) if at not in hidden]
    return prove(state, SlotsSeen(Span(start_ms, OPEN + HOUR), NOW, opens), POLICY)


def fresh() -> SeriesState:
    return unknown_series(1, SeriesKey("NEW", Interval.H1), NOW)


def test_the_listing_is_found_though_newer_slots_were_settled_before() -> None:
    part = read(fresh(), OPEN - 480 * HOUR).state
    assert part.first_open_ms is None
    whole = read(part, part.expected_start_ms).state
    assert whole.first_open_ms == LISTED
    assert [gap.span for gap in whole.gaps] == [Span(OPEN, OPEN + HOUR)] or whole.gaps == ()


def test_a_hole_at_the_oldest_settled_slots_is_no_listing() -> None:
    whole = read(fresh(), fresh().expected_start_ms).state
    again = read(whole, whole.expected_start_ms, hidden=(LISTED, LISTED + HOUR)).state
    assert again.first_open_ms == LISTED


def test_a_row_before_the_listing_moves_it_back_and_every_slot_between_is_accounted_for() -> None:
    known = replace(fresh(), first_open_ms=OPEN - 100 * HOUR, known_until_ms=OPEN, has_history=True)
    older = (OPEN - 200 * HOUR, OPEN - 198 * HOUR)
    change = prove(known, SlotsSeen(Span(OPEN - 200 * HOUR, OPEN - 150 * HOUR), NOW, list(older)), POLICY)
    assert change.state.first_open_ms == older[0]
    spoken_of = change.final | change.empty | SpanSet.of(gap.span for gap in change.state.gaps)
    assert spoken_of == SpanSet.single(older[0], OPEN - 100 * HOUR)
    reasons = {gap.span.start_ms: gap.reason for gap in change.state.gaps}
    assert reasons[OPEN - 199 * HOUR] is GapReason.ABSENT
    assert reasons[OPEN - 150 * HOUR] is GapReason.UNASKED
