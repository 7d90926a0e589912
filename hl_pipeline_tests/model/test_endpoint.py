from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.endpoint import (
    Breaker,
    Difference,
    EndpointState,
    FailureOf,
    differences,
    failure_of,
    healthy,
    why_stale,
    why_unhealthy,
)
from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable, PipelineError, RateLimited, RequestRefused

A = EndpointState("https://a/info", 0)
B = EndpointState("https://b/info", 1)
C = EndpointState("https://c/info", 2)
MINUTE = 60_000


def order(*states: EndpointState) -> str:
    return "".join(state.host for state in healthy(states))


def test_without_measurements_the_priority_decides() -> None:
    assert order(C, A, B) == "abc"


def test_the_fastest_takes_the_load_and_near_ties_go_by_priority() -> None:
    assert order(replace(A, latency_ms=119.0), replace(B, latency_ms=100.0), replace(C, latency_ms=300.0)) == "abc"
    assert order(replace(A, latency_ms=121.0), replace(B, latency_ms=100.0), replace(C, latency_ms=20.0)) == "cba"


def test_one_that_was_never_measured_is_tried_by_its_priority() -> None:
    assert order(replace(A, latency_ms=80.0), B, replace(C, latency_ms=500.0)) == "abc"
    assert order(A, replace(B, latency_ms=80.0)) == "ab"


@pytest.mark.parametrize("breaker", [Breaker.OPEN, Breaker.HALF_OPEN])
def test_one_that_rests_or_is_being_probed_takes_no_load(breaker: Breaker) -> None:
    assert order(replace(A, breaker=breaker, errors=5), B) == "b"
    assert order(replace(A, breaker=breaker)) == ""


def test_who_failed_often_of_late_comes_after_the_steady_ones() -> None:
    assert order(replace(A, is_unsteady=True, latency_ms=1.0), replace(B, latency_ms=500.0)) == "ba"
    assert order(replace(A, is_unsteady=True), replace(B, is_unsteady=True)) == "ab"


def test_one_whose_clock_is_behind_the_others_is_stale() -> None:
    late = replace(A, lag_ms=10_101)
    assert why_stale(late, [late, replace(B, lag_ms=100)]) == "its head is 10 s behind the others'"
    assert why_stale(replace(late, lag_ms=10_100), [late, replace(B, lag_ms=100)]) is None
    assert order(late, replace(B, lag_ms=100)) == "b"


def test_one_that_runs_ahead_does_not_make_the_others_look_late() -> None:
    ahead = replace(B, lag_ms=-3_600_000)
    assert order(replace(A, lag_ms=80), ahead, replace(C, lag_ms=120)) == "ac"
    assert why_stale(ahead, [A, replace(C, lag_ms=120), ahead]) == "its head is 3600 s ahead of the others'"


def test_our_own_clock_may_be_wrong() -> None:
    assert order(replace(A, lag_ms=25_000), replace(B, lag_ms=25_200)) == "ab"


def test_a_lone_endpoint_is_never_stale() -> None:
    assert order(replace(A, lag_ms=500_000, candle_lag_ms=500_000)) == "a"


def test_the_one_that_is_down_is_still_what_a_stale_one_is_held_against() -> None:
    down = replace(A, breaker=Breaker.OPEN, errors=5, lag_ms=90)
    assert order(down, replace(B, lag_ms=90_000)) == "", "a stale answer is worse than none"


def test_candles_that_stand_still_are_stale_whatever_the_clock_says() -> None:
    stuck = replace(A, lag_ms=10, candle_lag_ms=120_000)
    assert order(stuck, replace(B, lag_ms=10, candle_lag_ms=0)) == "b"
    assert order(replace(stuck, candle_lag_ms=60_000), replace(B, lag_ms=10)) == "ab"


def test_one_that_differs_from_the_primary_is_the_last_resort() -> None:
    odd = replace(B, disagrees_since_ms=1, latency_ms=1.0)
    assert order(replace(A, latency_ms=900.0), odd, C) == "acb"
    assert order(replace(A, breaker=Breaker.OPEN), odd) == "b"
    assert order(replace(A, breaker=Breaker.OPEN, lag_ms=0), replace(odd, lag_ms=60_000)) == ""


@given(
    st.lists(
        st.builds(
            EndpointState,
            st.sampled_from([f"https://{name}/info" for name in "abcdef"]),
            st.integers(0, 5),
            st.sampled_from(Breaker),
            latency_ms=st.none() | st.floats(0, 10_000),
            lag_ms=st.none() | st.integers(-100_000, 100_000),
            disagrees_since_ms=st.none() | st.just(1),
        ),
        max_size=6,
    )
)
def test_who_is_asked_is_never_resting_nor_stale_and_the_well_come_first(states: list[EndpointState]) -> None:
    asked = healthy(states)
    assert all(state.breaker is Breaker.CLOSED and why_stale(state, states) is None for state in asked)
    well = [why_unhealthy(state, states) is None for state in asked]
    assert well == sorted(well, reverse=True)
    assert len(asked) == len([s for s in states if s.breaker is Breaker.CLOSED and why_stale(s, states) is None]), (
        "and nobody is asked twice or forgotten"
    )


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ExchangeUnavailable("502"), FailureOf.UNREACHABLE),
        (RateLimited("429"), FailureOf.RATE_LIMITED),
        (BadAnswer("html"), FailureOf.BAD_ANSWER),
        (RequestRefused("404"), FailureOf.BAD_ANSWER),
    ],
)
def test_a_failure_has_a_kind(error: PipelineError, failure: FailureOf) -> None:
    assert failure_of(error) is failure


def minute(number: int, price: str = "100.5", volume: str = "2.5", trades: int = 7) -> Candle:
    return Candle(number * MINUTE, price, price, price, price, volume, trades)


def test_answers_that_say_the_same_in_other_words_agree() -> None:
    one = [minute(1, "100.50", "2.5"), minute(2)]
    assert differences(one, [minute(1, "100.5", "2.5000000001"), minute(2)]) == []


@pytest.mark.parametrize("other", [minute(2, "100.6"), minute(2, volume="2.51"), minute(2, trades=8)])
def test_one_field_is_enough_to_differ(other: Candle) -> None:
    assert differences([minute(1), minute(2)], [minute(1), other]) == [Difference(2 * MINUTE, minute(2), other)]


def test_a_traded_minute_that_one_never_heard_of_is_a_difference_a_quiet_one_is_late() -> None:
    whole = [minute(1), minute(2), minute(3)]
    assert differences(whole, [minute(1), minute(3)]) == [Difference(2 * MINUTE, minute(2), None)]
    assert differences([minute(1), minute(3)], whole) == [Difference(2 * MINUTE, None, minute(2))]
    assert differences([minute(1), minute(2, trades=0), minute(3)], [minute(1), minute(3)]) == []


def test_where_one_is_behind_its_newest_candle_may_still_be_forming() -> None:
    assert differences([minute(1), minute(2), minute(3)], [minute(1), minute(2, volume="0.1", trades=1)]) == []
    assert differences([minute(1, "1.0"), minute(2)], [minute(1), minute(2), minute(3)]) != []


def test_nothing_said_is_not_a_contradiction() -> None:
    assert differences([], [minute(1)]) == differences([minute(1)], []) == differences([], []) == []
