"""Span sets behave as sets of instants: checked against Python's own sets of small integers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.span import Span, SpanSet

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


def instants(spans: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


def held(spans: SpanSet) -> set[int]:
    return instants([(start, end) for start, end in spans])


def is_normal(found: SpanSet) -> bool:
    edges = [edge for span in found for edge in span]
    return all(a < b for a, b in itertools.pairwise(edges))


@given(spans, spans)
def test_union_intersection_and_difference_are_those_of_sets(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    a, b = SpanSet.of(left), SpanSet.of(right)
    for found, expected in [
        (a | b, instants(left) | instants(right)),
        (a & b, instants(left) & instants(right)),
        (a - b, instants(left) - instants(right)),
    ]:
        assert held(found) == expected
        assert is_normal(found)


@given(spans)
def test_equal_sets_of_instants_are_equal_whatever_spans_made_them(parts: list[tuple[int, int]]) -> None:
    assert SpanSet.of(parts) == SpanSet.of((at, at + 1) for at in instants(parts))


@given(st.sets(st.integers(0, 50)), st.sampled_from([1, 7]))
def test_slots_become_the_spans_that_cover_them(numbers: set[int], step: int) -> None:
    opens = [number * step for number in sorted(numbers)]
    found = SpanSet.from_slots(opens, step)
    assert found == SpanSet.of((at, at + step) for at in opens)
    assert found.slots(step) == len(opens)
    assert all((at in found) and (at + step - 1 in found) for at in opens)


def test_a_span_is_half_open() -> None:
    assert 10 in SpanSet.single(10, 20)
    assert 20 not in SpanSet.single(10, 20)
    assert SpanSet.single(10, 10) == SpanSet()
    assert Span(10, 25).length_ms == 15
