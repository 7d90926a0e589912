from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.month import months_in
from hl_pipeline.model.retention import (
    DAY_MS,
    LEAST_CANDLE_DAYS,
    RESTORED_STAYS_MS,
    Bounds,
    Kind,
    is_due,
    read_bound,
    read_candle_bounds,
)
from hl_pipeline.model.span import Span

INSTANTS = st.integers(1_600_000_000_000, 1_900_000_000_000)
BOUNDS = st.integers(1, 3000).map(lambda days: days * DAY_MS)


def month_of(at_ms: int) -> Span:
    return months_in(Span(at_ms, at_ms + 1))[0]


@given(at=INSTANTS, now=INSTANTS, bound=BOUNDS)
def test_nothing_younger_than_its_bound_is_in_a_month_that_is_due(at: int, now: int, bound: int) -> None:
    if is_due(month_of(at), now, bound):
        assert now - at >= bound
    elif now - bound - 31 * DAY_MS >= at:
        pytest.fail("a month is kept for a month longer than its bound at most")


@given(at=INSTANTS, now=INSTANTS, bound=BOUNDS, later=st.integers(0, 10**12), more=st.integers(0, 10**12))
def test_what_is_due_stays_due_and_a_longer_bound_never_makes_more_due(
    at: int, now: int, bound: int, later: int, more: int
) -> None:
    month = month_of(at)
    if is_due(month, now, bound):
        assert is_due(month, now + later, bound)
    else:
        assert not is_due(month, now, bound + more)


@given(now=INSTANTS, bound=BOUNDS)
def test_the_months_that_are_due_are_all_up_to_one_and_none_behind_it(now: int, bound: int) -> None:
    months = months_in(Span(now - bound - 200 * DAY_MS, now))
    due = [is_due(month, now, bound) for month in months]
    assert due == sorted(due, reverse=True)


def test_the_boundary_is_the_month_s_last_instant() -> None:
    month = month_of(1_700_000_000_000)
    assert is_due(month, month.end_ms + DAY_MS, DAY_MS)
    assert not is_due(month, month.end_ms + DAY_MS - 1, DAY_MS)


@given(at=INSTANTS, bound=BOUNDS, since=st.integers(-DAY_MS, 2 * RESTORED_STAYS_MS))
def test_a_month_that_was_loaded_again_stays_thirty_days(at: int, bound: int, since: int) -> None:
    month = month_of(at)
    restored = month.end_ms + bound + DAY_MS
    assert is_due(month, restored + since, bound, restored) == (since >= RESTORED_STAYS_MS)


@given(days=st.integers(1, 99_999))
def test_bounds_are_read_in_days_and_years(days: int) -> None:
    assert read_bound(f"{days}d") == days * DAY_MS
    assert read_bound(f"{days}y") == 365 * days * DAY_MS


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "180", "180 d", "d", "1.5y", "180D", "6m", "01d", "\u0661d", "999999d", "Forever"]
)
def test_what_is_no_bound_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidSetting, match="180d or 2y, or forever"):
        read_bound(text)


def test_a_bound_below_what_is_still_read_is_refused() -> None:
    assert read_bound("31d", 31) == 31 * DAY_MS
    with pytest.raises(InvalidSetting, match="keep 31d or more"):
        read_bound("30d", 31)


def test_candles_have_a_bound_an_interval() -> None:
    assert read_candle_bounds(["1m=365d", "1h=2y", "1d=forever"]) == {
        Interval.M1: 365 * DAY_MS,
        Interval.H1: 730 * DAY_MS,
    }
    assert read_candle_bounds([]) == {}


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["1m"], "write interval=bound"),
        (["2m=365d"], "there are 1m, 5m"),
        (["1m=365d", "1m=2y"], "more than once"),
        ([f"1m={LEAST_CANDLE_DAYS - 1}d"], "too short"),
        (["1m=soon"], "no bound"),
    ],
)
def test_a_candle_bound_that_cannot_be_meant_is_refused(texts: list[str], why: str) -> None:
    with pytest.raises(InvalidSetting, match=why):
        read_candle_bounds(texts)


@pytest.mark.parametrize("interval", [Interval.M1, Interval.M5, Interval.M15])
def test_the_least_bound_is_beyond_what_the_exchange_may_still_be_asked_for(interval: Interval) -> None:
    assert interval.deadline(0) < LEAST_CANDLE_DAYS * DAY_MS


def test_each_kind_of_rows_has_the_bound_of_its_group() -> None:
    bounds = Bounds(fetches_ms=1, alerts_ms=2, logs_ms=3)
    found = {kind: bounds.of(kind) for kind in Kind}
    assert found.pop(Kind.FETCHES) == 1
    assert {kind for kind, bound in found.items() if bound == 2} == {Kind.ALERTS, Kind.INCIDENTS, Kind.SILENCES}
    assert None not in found.values()
