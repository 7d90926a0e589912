from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.service_level import ErrorBudget, Measured, Objective

counts = st.integers(0, 1_000_000)
targets = st.fractions(Fraction(1, 2), 1, max_denominator=10_000)


def budget(target: Fraction, events: int, bad: int) -> ErrorBudget:
    objective = Objective("any", target, "requests", "is answered", "failed", "%", 1.0)
    return ErrorBudget(objective, Measured(events, bad))


@given(targets, counts, st.data())
def test_an_objective_is_met_while_something_of_its_budget_is_left_or_just_spent(
    target: Fraction, events: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, events))
    found = budget(target, events, bad)
    assert found.is_met is (found.left >= 0)
    assert found.left <= 1


@given(targets, st.integers(1, 1_000_000), st.data())
def test_one_more_bad_event_never_leaves_more(target: Fraction, events: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, events - 1))
    before, after = budget(target, events, bad), budget(target, events, bad + 1)
    assert after.left < before.left or before.left == float("-inf")
    assert before.is_met or not after.is_met


@given(targets, st.integers(1, 10_000), st.integers(2, 50), st.data())
def test_the_same_share_over_more_events_leaves_the_same(
    target: Fraction, events: int, times: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, events))
    assert budget(target, events, bad).left == budget(target, times * events, times * bad).left
    assert budget(target, events, bad).is_met is budget(target, times * events, times * bad).is_met


@given(targets, st.integers(1, 1_000_000), st.data())
def test_it_is_met_exactly_when_the_good_share_reaches_the_target(
    target: Fraction, events: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, events))
    assert budget(target, events, bad).is_met is (Fraction(events - bad, events) >= target)


def test_nothing_measured_is_neither_a_success_nor_a_failure() -> None:
    found = budget(Fraction(99, 100), 0, 0)
    assert not found.is_measured
    assert found.good_share is None
    assert found.left == 1


def test_a_target_of_every_event_allows_none() -> None:
    assert budget(Fraction(1), 10, 0).is_met
    assert not budget(Fraction(1), 10, 1).is_met


def test_more_bad_events_than_events_are_refused() -> None:
    with pytest.raises(ValueError, match="2 bad of 1"):
        Measured(1, 2)
