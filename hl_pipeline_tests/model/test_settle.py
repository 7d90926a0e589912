"""The settle time grows with what the exchange changes, and shrinks when it keeps its word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.settle import TOLERATED_ROWS, TOLERATED_SHARE, Changes, SettleTime, settle_time

CALM = Changes(500, ())
AGES = st.lists(st.integers(0, 200_000), max_size=40)
PERIODS = st.lists(st.builds(Changes, st.integers(0, 2000), AGES), max_size=3)


def of(*changes: Changes) -> int:
    return settle_time(10_000, 60_000, changes).ms


@pytest.mark.parametrize(
    ("ages_ms", "settle_ms"),
    [
        ((), 10_000),
        ((9_999,) * 100, 10_000),  # read before they counted as settled: nothing was trusted too early
        ((12_000,) * 100, 15_000),
        ((15_000,) * 100, 25_000),
        ((18_000,) * 100, 25_000),
        ((30_000,) * 100, 40_000),
        ((59_999,) * 100, 60_000),
        ((600_000,) * 100, 60_000),  # no settle time of ours would have been enough
    ],
)
def test_it_is_the_shortest_that_would_have_been_enough(ages_ms: tuple[int, ...], settle_ms: int) -> None:
    assert of(Changes(500, ages_ms)) == settle_ms


@pytest.mark.parametrize(("changed", "settle_ms"), [(1, 10_000), (2, 10_000), (3, 15_000)])
def test_a_few_corrections_of_a_few_candles_are_no_habit(changed: int, settle_ms: int) -> None:
    assert of(Changes(20, (12_000,) * changed)) == settle_ms


@pytest.mark.parametrize(("changed", "settle_ms"), [(20, 10_000), (21, 15_000)])
def test_one_in_a_hundred_is_tolerated(changed: int, settle_ms: int) -> None:
    assert of(Changes(2000, (12_000,) * changed)) == settle_ms


def test_one_bad_period_is_enough_to_keep_it_long() -> None:
    bad = Changes(500, (12_000,) * 50)
    assert of(bad, CALM, CALM) == of(CALM, bad, CALM) == of(CALM, CALM, bad) == 15_000
    assert of(CALM, CALM, CALM) == of() == 10_000


def test_it_says_what_it_is_and_why() -> None:
    found = settle_time(10_000, 60_000, [Changes(412, (18_000,) * 13)])
    assert found.sentence == "10 s -> 25 s because 3.2 % of 412 closed rows changed after their first read"
    assert settle_time(10_000, 60_000, [CALM]).sentence == (
        "10 s: none of 500 closed rows changed after their first read"
    )
    assert SettleTime(2500, 2500, is_fixed=True).sentence == "2.5 s, as HL_SETTLE_SECONDS says"


@pytest.mark.parametrize(("least_ms", "most_ms"), [(0, 60_000), (10_000, 9_999)])
def test_bounds_that_are_none_are_refused(least_ms: int, most_ms: int) -> None:
    with pytest.raises(ValueError, match="the least is above 0"):
        settle_time(least_ms, most_ms, [])


@given(PERIODS, st.integers(1, 30_000), st.integers(0, 170_000))
def test_it_stays_in_its_bounds_and_suffices_unless_nothing_would(
    changes: list[Changes], least_ms: int, more_ms: int
) -> None:
    found = settle_time(least_ms, least_ms + more_ms, changes)
    assert least_ms <= found.ms <= min(least_ms + more_ms, 6 * least_ms)
    if found.ms < min(least_ms + more_ms, 6 * least_ms):
        for period in changes:
            too_early = sum(age >= found.ms for age in period.ages_ms)
            assert too_early <= max(TOLERATED_ROWS, TOLERATED_SHARE * period.closed)


@given(PERIODS, AGES, st.integers(0, 2))
def test_another_changed_candle_never_shortens_it(changes: list[Changes], ages: list[int], number: int) -> None:
    if number < len(changes):
        worse = list(changes)
        worse[number] = Changes(changes[number].closed, [*changes[number].ages_ms, *ages])
        assert of(*worse) >= of(*changes)
