from __future__ import annotations

import itertools
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.interval import to_ms
from hl_pipeline.model.month import months_in
from hl_pipeline.model.span import Span

INSTANTS = st.integers(
    min_value=to_ms(datetime(2020, 1, 1, tzinfo=UTC)), max_value=to_ms(datetime(2030, 1, 1, tzinfo=UTC))
)


def at(year: int, month: int, day: int = 1) -> int:
    return to_ms(datetime(year, month, day, tzinfo=UTC))


def test_a_span_over_new_year_touches_both_months_whole() -> None:
    assert months_in(Span(at(2025, 12, 31), at(2026, 1, 2))) == [
        Span(at(2025, 12), at(2026, 1)),
        Span(at(2026, 1), at(2026, 2)),
    ]


def test_a_month_is_left_out_at_its_first_instant() -> None:
    assert months_in(Span(at(2026, 2), at(2026, 3))) == [Span(at(2026, 2), at(2026, 3))]
    assert months_in(Span(at(2026, 2), at(2026, 2))) == []


@given(INSTANTS, INSTANTS)
def test_the_months_cover_the_span_without_a_hole(start: int, end: int) -> None:
    months = months_in(Span(min(start, end), max(start, end)))
    if start == end:
        assert len(months) <= 1
        return
    assert months[0].start_ms <= min(start, end) < months[0].end_ms
    assert months[-1].start_ms < max(start, end) <= months[-1].end_ms
    assert all(one.end_ms == next_one.start_ms for one, next_one in itertools.pairwise(months))
