from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hl_pipeline.derived.confidence import WEIGHTS, combine, grade_of, ramp, score
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.trust import SeriesInputs

CLEAN = SeriesInputs(
    1, SeriesKey("BTC", Interval.M5), expected=288, present=288, empty=0, longest_missing=0,
    newest_closed_age_s=100.0, period_s=60.0, received=1000, bad=0, parents_compared=280, parents_differing=0,
    mark_distance=0.001, grades={"final": 288}, revised=0, oddities=0,
)  # fmt: skip
unit = st.floats(0, 1)
scores = st.fixed_dictionaries({name: st.none() | unit for name in WEIGHTS})


@st.composite
def inputs(draw: st.DrawFn) -> SeriesInputs:
    expected = draw(st.integers(1, 200))
    present = draw(st.integers(1, expected))
    missing = draw(st.integers(0, expected - present))
    return replace(
        CLEAN, expected=expected, present=present, empty=expected - present - missing,
        longest_missing=draw(st.integers(0, missing)), newest_closed_age_s=draw(st.none() | st.floats(0, 1e5)),
        received=draw(st.integers(0, 100)), bad=0, parents_compared=0, mark_distance=draw(st.none() | unit),
        grades={"final": present}, revised=draw(st.integers(0, present)), oddities=draw(st.none() | st.integers(0, 3)),
    )  # fmt: skip


def test_a_clean_series_scores_one_and_is_excellent() -> None:
    found = score(CLEAN)
    assert found.score == pytest.approx(1.0)
    assert (found.grade, found.reasons) == ("excellent", [])


@settings(deadline=None)
@given(inputs())
def test_a_score_lies_between_zero_and_one(given_inputs: SeriesInputs) -> None:
    assert 0.0 <= score(given_inputs).score <= 1.0


@settings(deadline=None)
@given(inputs())
@example(replace(CLEAN, expected=17, present=1, empty=14, longest_missing=0, newest_closed_age_s=None, received=0,
                 parents_compared=0, mark_distance=None, grades={"final": 1}, oddities=1))  # fmt: skip
def test_removing_a_candle_never_raises_the_score(before: SeriesInputs) -> None:
    kept = before.present - 1
    after = replace(before, present=kept, grades={"final": kept}, longest_missing=before.longest_missing + 1)
    assert score(after).score <= score(before).score + 1e-9


@settings(deadline=None)
@given(scores, st.sampled_from(sorted(WEIGHTS)), unit)
def test_a_better_component_never_lowers_the_score(before: dict[str, float | None], name: str, x: float) -> None:
    low, high = sorted((x, before[name] or 0.0))
    assert combine({**before, name: low}) <= combine({**before, name: high}) + 1e-9


@settings(deadline=None)
@given(unit, st.sets(st.sampled_from(sorted(WEIGHTS)), min_size=1))
def test_the_weight_of_what_cannot_be_measured_goes_to_the_rest(x: float, measured: set[str]) -> None:
    mean_only = combine(
        {name: x if name in measured and name in {"provenance", "stability"} else None for name in WEIGHTS}
    )
    assert mean_only == pytest.approx(x if measured & {"provenance", "stability"} else 0.0)


@pytest.mark.parametrize(
    ("value", "grade"),
    [(0.9, "excellent"), (0.899, "good"), (0.75, "good"), (0.749, "fair"), (0.5, "fair"), (0.499, "poor")],
)
def test_grades_begin_at_their_bounds(value: float, grade: str) -> None:
    assert grade_of(value) == grade


def test_a_ramp_is_one_at_good_and_zero_at_bad() -> None:
    assert [ramp(x, 1, 3) for x in (0, 1, 2, 3, 9)] == [1, 1, 0.5, 0, 0]


@pytest.mark.parametrize(
    ("worse", "blamed"),
    [
        (replace(CLEAN, present=270, grades={"final": 270}, longest_missing=4), "completeness"),
        (replace(CLEAN, newest_closed_age_s=900.0), "freshness"),
        (replace(CLEAN, bad=5), "validity"),
        (replace(CLEAN, parents_differing=80), "agreement"),
        (replace(CLEAN, grades={"stream": 288}), "provenance"),
        (replace(CLEAN, oddities=4), "stability"),
    ],
)
def test_the_component_that_was_spoilt_is_blamed(worse: SeriesInputs, blamed: str) -> None:
    found = score(worse)
    assert found.weakest == blamed
    assert any(reason.startswith(blamed) for reason in found.reasons)


def test_what_follows_from_a_fault_is_not_blamed_for_it() -> None:
    stale = replace(CLEAN, newest_closed_age_s=4e4, present=150, grades={"final": 150}, longest_missing=138)
    assert score(replace(stale, missing_at_head=138)).weakest == "freshness"
    refused = replace(CLEAN, bad=100, present=188, grades={"final": 188}, longest_missing=9)
    assert score(replace(refused, missing_rejected=100)).weakest == "validity"
    assert score(refused).weakest == "completeness"


def test_a_series_whose_candles_do_not_add_up_to_the_venues_larger_ones_is_not_trusted() -> None:
    accused = replace(CLEAN, above_compared=100, above_differing=30)
    found = score(replace(accused, parents_compared=0))
    assert found.components["agreement"].score == 0
    assert found.weakest == "agreement"
    assert score(accused).components["agreement"].score == 1, "its own minutes acquit it, candle by candle"


def test_derived_candles_are_as_doubtful_as_what_they_were_made_of() -> None:
    derived = replace(CLEAN, grades={"final": 188, "derived": 100}, parents_compared=188)
    assert score(replace(derived, derived_suspect=0.0)).components["agreement"].score == 1
    found = score(replace(derived, derived_suspect=43.2))
    assert found.components["agreement"].score == pytest.approx(0.5)
    assert found.weakest == "agreement"


def test_an_ended_series_is_not_stale() -> None:
    found = score(replace(CLEAN, ended=True, newest_closed_age_s=1e7))
    assert found.components["freshness"].score is None
    assert found.grade == "excellent"


def test_a_series_of_which_nothing_is_known_is_not_trusted() -> None:
    nothing = SeriesInputs(2, SeriesKey("NEW", Interval.M1), 0, 0, 0, 0, None, 60.0)
    assert (score(nothing).score, score(nothing).grade) == (0.0, "poor")
