"""The newest frame of a minute is what counts, each minute is closed once, and nothing waits without bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.live import LiveBuffer, LiveCandle, Watch
from hl_pipeline_tests.fakes import candle

T0 = 1_785_067_200_000


def frame(minute: int, trades: int) -> Candle:
    return candle(T0 + minute * MINUTE_MS, f"{100 + trades}", trades=trades)


def taken(buffer: LiveBuffer, at_ms: int) -> list[tuple[int, int, bool]]:
    due = buffer.take(T0 + at_ms)
    return [((live.candle.open_ms - T0) // MINUTE_MS, live.candle.trades, live.is_closed) for live in due]


def test_an_open_candle_is_handed_out_at_most_once_in_its_pace_and_only_when_it_changed() -> None:
    buffer = LiveBuffer(open_every_ms=5_000)
    buffer.put("BTC", frame(0, 1))
    assert taken(buffer, 10_000) == [(0, 1, False)]
    buffer.put("BTC", frame(0, 2))
    assert taken(buffer, 12_000) == []
    assert taken(buffer, 15_000) == [(0, 2, False)]
    assert taken(buffer, 30_000) == []


def test_a_minute_is_closed_by_the_clock_a_grace_after_its_end_and_once_only() -> None:
    buffer = LiveBuffer(grace_ms=1_000)
    buffer.put("BTC", frame(0, 3))
    assert taken(buffer, 59_999) == [(0, 3, False)]
    assert taken(buffer, 60_999) == []
    assert taken(buffer, 61_000) == [(0, 3, True)]
    assert taken(buffer, 62_000) == []


def test_a_minute_is_closed_at_once_by_a_later_one_of_its_market() -> None:
    buffer = LiveBuffer()
    buffer.put("BTC", frame(0, 3))
    buffer.put("BTC", frame(1, 1))
    assert taken(buffer, 60_010) == [(0, 3, True), (1, 1, False)]


def test_a_straggler_with_more_trades_is_handed_out_as_closed_again_and_one_with_fewer_is_not() -> None:
    buffer = LiveBuffer()
    buffer.put("BTC", frame(0, 3))
    assert taken(buffer, 61_000) == [(0, 3, True)]
    buffer.put("BTC", frame(0, 2))
    assert taken(buffer, 61_500) == []
    buffer.put("BTC", frame(0, 4))
    assert taken(buffer, 62_000) == [(0, 4, True)]


def test_what_was_landed_is_forgotten_minutes_later() -> None:
    buffer = LiveBuffer()
    buffer.put("BTC", frame(0, 3))
    taken(buffer, 61_000)
    assert len(buffer) == 1
    taken(buffer, 3 * MINUTE_MS)
    assert len(buffer) == 0


def test_what_could_not_be_landed_is_handed_out_again_unless_a_newer_frame_came() -> None:
    buffer = LiveBuffer()
    buffer.put("BTC", frame(0, 3))
    batch = buffer.take(T0 + 61_000)
    buffer.put("BTC", frame(0, 5))
    assert buffer.give_back(batch)
    assert taken(buffer, 62_000) == [(0, 5, True)]


def test_what_could_not_be_landed_survives_being_forgotten_meanwhile() -> None:
    buffer = LiveBuffer()
    buffer.put("BTC", frame(0, 3))
    batch = buffer.take(T0 + 61_000)
    buffer.take(T0 + 5 * MINUTE_MS)
    assert buffer.give_back(batch)
    assert taken(buffer, 6 * MINUTE_MS) == [(0, 3, True)]


def test_beyond_its_bound_the_oldest_minute_is_dropped_and_counted() -> None:
    buffer = LiveBuffer(most=2)
    assert buffer.put("BTC", frame(0, 1))
    assert buffer.put("ETH", frame(1, 1))
    assert not buffer.put("BTC", frame(2, 1))
    assert (len(buffer), buffer.overflowed) == (2, 1)
    assert taken(buffer, 10 * MINUTE_MS) == [(2, 1, True), (1, 1, True)]


def test_dropping_what_is_landed_already_loses_nothing() -> None:
    buffer = LiveBuffer(most=1)
    buffer.put("BTC", frame(0, 1))
    taken(buffer, 61_000)
    assert buffer.put("ETH", frame(1, 1))
    assert buffer.overflowed == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.booleans()), max_size=40))
def test_in_the_end_every_minute_was_handed_out_closed_with_its_most_trades(
    steps: list[tuple[int, int, bool]],
) -> None:
    buffer = LiveBuffer()
    most: dict[int, int] = {}
    handed: list[LiveCandle] = []
    for minute, trades, is_taken in steps:
        buffer.put("BTC", frame(minute, trades))
        most[minute] = max(most.get(minute, 0), trades)
        if is_taken:
            handed += buffer.take(T0 + minute * MINUTE_MS + 30_000)
    handed += buffer.take(T0 + 5 * MINUTE_MS)
    closed = sorted((live.candle.open_ms, live.candle.trades) for live in handed if live.is_closed)
    assert {(at - T0) // MINUTE_MS: trades for at, trades in closed} == most  # the last of each minute has the most


def test_a_watch_begins_with_the_next_whole_minute_and_ends_with_the_last_frame() -> None:
    watch = Watch()
    assert watch.begin(T0 + 10_000)
    watch.data(T0 + 70_000)
    assert (watch.since_ms, watch.until_ms) == (T0 + MINUTE_MS, None)
    watch.data(T0 + 2 * MINUTE_MS)
    assert watch.until_ms == T0 + 2 * MINUTE_MS


def test_a_connection_that_is_back_within_seconds_has_missed_nothing() -> None:
    watch = Watch(tolerance_ms=10_000)
    watch.begin(T0)
    watch.data(T0 + 90_000)
    watch.break_off(T0 + 95_000)
    assert not watch.begin(T0 + 99_000)
    watch.data(T0 + 3 * MINUTE_MS)
    assert (watch.since_ms, watch.until_ms) == (T0, T0 + 3 * MINUTE_MS)


def test_a_stall_counts_from_its_last_frame_not_from_when_it_was_noticed() -> None:
    watch = Watch(tolerance_ms=10_000)
    watch.begin(T0)
    watch.data(T0 + 90_000)
    watch.break_off(T0 + 125_000)
    assert watch.until_ms == T0 + MINUTE_MS
    assert watch.begin(T0 + 126_000)
    assert watch.since_ms == T0 + 3 * MINUTE_MS


def test_after_a_frame_was_dropped_the_watch_begins_again() -> None:
    watch = Watch()
    watch.begin(T0)
    watch.data(T0 + 130_000)
    watch.start_over(T0 + 130_000)
    assert (watch.since_ms, watch.until_ms) == (T0 + 3 * MINUTE_MS, None)
