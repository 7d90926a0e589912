from __future__ import annotations

from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.regression import LEAST_FACTOR, LEAST_HISTORY, RECENT_RUNS, compared

values = st.floats(0.01, 1e6)
recents = st.lists(values, min_size=RECENT_RUNS, max_size=RECENT_RUNS)
histories = st.lists(values, min_size=LEAST_HISTORY, max_size=60)


@given(st.lists(values, max_size=RECENT_RUNS + LEAST_HISTORY - 1), st.booleans())
def test_too_few_runs_say_nothing(runs: list[float], lower: bool) -> None:
    assert compared(runs, lower_is_worse=lower) is None


@given(values, st.integers(LEAST_HISTORY, 60), st.booleans())
def test_runs_that_are_all_alike_have_not_regressed(value: float, before: int, lower: bool) -> None:
    found = compared([value] * (RECENT_RUNS + before), lower_is_worse=lower)
    assert found is not None
    assert not found.has_regressed
    assert found.factor == 1
    assert found.runs == before


@given(values, st.floats(1.01 * LEAST_FACTOR, 100), st.booleans())
def test_a_steady_value_that_grew_worse_by_more_than_the_least_factor_has_regressed(
    value: float, factor: float, lower: bool
) -> None:
    worse = value / factor if lower else value * factor
    found = compared([worse] * RECENT_RUNS + [value] * LEAST_HISTORY, lower_is_worse=lower)
    assert found is not None
    assert found.has_regressed


@given(recents, histories, st.booleans())
def test_what_is_no_worse_than_the_history_never_regressed(
    recent: list[float], before: list[float], lower: bool
) -> None:
    found = compared([*recent, *before], lower_is_worse=lower)
    assert found is not None
    if (median(recent) >= median(before)) if lower else (median(recent) <= median(before)):
        assert not found.has_regressed


@given(recents, histories, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_within_the_newest_and_within_the_history_does_not_matter(
    recent: list[float], before: list[float], lower: bool, random: Random
) -> None:
    found = compared([*recent, *before], lower_is_worse=lower)
    random.shuffle(recent)
    random.shuffle(before)
    assert compared([*recent, *before], lower_is_worse=lower) == found


@given(recents, histories, st.sampled_from([0.25, 2.0, 1024.0]), st.booleans())
def test_the_unit_does_not_matter(recent: list[float], before: list[float], unit: float, lower: bool) -> None:
    one = compared([*recent, *before], lower_is_worse=lower)
    other = compared([unit * value for value in [*recent, *before]], lower_is_worse=lower)
    assert one is not None
    assert other is not None
    assert other.has_regressed is one.has_regressed
    assert other.factor == one.factor


@given(st.lists(values, min_size=9, max_size=9), st.booleans())
def test_nine_odd_runs_of_twenty_in_the_history_hide_nothing(odd: list[float], lower: bool) -> None:
    worse = 1.0 if lower else 10_000.0
    found = compared([worse] * RECENT_RUNS + odd + [100.0] * 11, lower_is_worse=lower)
    assert found is not None
    assert found.has_regressed


@given(st.lists(values, min_size=4, max_size=4), st.booleans())
def test_four_odd_runs_of_ten_are_no_regression(odd: list[float], lower: bool) -> None:
    found = compared([*odd, *[100.0] * 6, *[100.0] * LEAST_HISTORY], lower_is_worse=lower)
    assert found is not None
    assert not found.has_regressed


@pytest.mark.parametrize("lower", [True, False])
def test_a_noisy_value_may_move_as_far_as_it_always_did(lower: bool) -> None:
    before = [50.0, 200.0] * 10
    recent = [40.0] * RECENT_RUNS if lower else [250.0] * RECENT_RUNS
    found = compared([*recent, *before], lower_is_worse=lower)
    assert found is not None
    assert not found.has_regressed


def test_a_value_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="0 is not positive"):
        compared([1.0, 0], lower_is_worse=True)
