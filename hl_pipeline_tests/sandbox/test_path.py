from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.path import LATE_MS, LATE_ONE_IN, Numbers, add, minute_of
from hl_pipeline.sandbox.tape import frame_times

OPEN = 29_552_000 * MINUTE_MS


@st.composite
def finals(draw: st.DrawFn) -> Numbers:
    """Any candle of a traded minute."""
    low = draw(st.integers(1, 10**9))
    high = low + draw(st.integers(0, 10**6))
    inside = st.integers(low, high)
    trades = draw(st.integers(1, 400))
    volume = trades + draw(st.integers(0, 10**9))
    return Numbers(draw(inside), high, low, draw(inside), volume, draw(st.sampled_from((-1, 0, 1))), trades)


@given(finals(), st.integers(0, 2**63), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_a_minute_grows_from_its_first_trade_to_exactly_its_final_candle(final: Numbers, key: int, shift: int) -> None:
    minute = minute_of(final, key, OPEN + shift * MINUTE_MS)
    assert minute is not None
    assert len(minute.times) == final.trades
    assert minute.times == sorted(minute.times)
    assert minute.times[0] >= 0
    assert minute.times[-1] < MINUTE_MS
    steps = [minute.after(count) for count in range(1, final.trades + 1)]
    assert steps[-1] == final
    for count, step in enumerate(steps, 1):
        assert step.trades == count
        assert step.open == final.open
        assert final.low <= step.low <= min(step.open, step.close)
        assert max(step.open, step.close) <= step.high <= final.high
    for one, two in pairwise(steps):
        assert one.high <= two.high
        assert one.low >= two.low
        assert one.volume < two.volume
    assert sum(minute.size(number + 1) for number in range(final.trades)) == final.volume
    assert all(minute.size(number + 1) > 0 for number in range(final.trades))


@given(finals().filter(lambda final: final.trades >= 4))
@settings(max_examples=200, deadline=None)
def test_with_four_trades_or_more_the_trades_alone_make_the_candle(final: Numbers) -> None:
    minute = minute_of(final, 1, OPEN)
    assert minute is not None
    prices = [minute.price(number + 1) for number in range(final.trades)]
    assert (prices[0], max(prices), min(prices), prices[-1]) == final[:4]


def test_a_silent_minute_has_no_trades() -> None:
    assert minute_of(Numbers(5, 5, 5, 5, 0, 0, 0), 1, OPEN) is None


def test_about_one_minute_in_seven_has_a_trade_at_its_very_end() -> None:
    final = Numbers(5, 9, 1, 5, 50, 0, 5)
    minutes = [minute_of(final, 3, OPEN + number * MINUTE_MS) for number in range(1400)]
    late = sum(minute.times[-1] >= MINUTE_MS - LATE_MS for minute in minutes if minute)
    assert 0.8 * 1400 / LATE_ONE_IN < late < 1.3 * 1400 / LATE_ONE_IN


def test_the_sum_of_two_spans_is_their_candle() -> None:
    one, two = Numbers(5, 9, 4, 6, 10, 1, 2), Numbers(7, 8, 3, 8, 5, 0, 1)
    assert add(one, two) == Numbers(5, 9, 3, 8, 15, 1, 3)
    assert add(None, two) == two
    assert add(one, None) == one
    assert add(None, None) is None


@given(st.lists(st.integers(0, MINUTE_MS - 1), min_size=1).map(sorted), st.integers(1, 90_000), st.integers(0, 200))
def test_frames_come_at_trades_one_a_gap_and_the_last_one_before_the_tail(
    times: list[int], gap: int, tail: int
) -> None:
    shown = frame_times(times, gap, tail)
    assert shown == sorted(set(shown))
    assert set(shown) <= set(times)
    before_tail = [time for time in times if time < MINUTE_MS - tail]
    assert shown[-1] == (before_tail or times)[-1]
    if len(set(before_tail or times)) > 1:
        assert len(shown) >= 2
    assert len(shown) <= max(2, len({time // gap for time in times}))
