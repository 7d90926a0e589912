from __future__ import annotations

import time

import pytest

from hl_pipeline.model.clock import ScaledClock


def test_a_scaled_clock_runs_so_many_times_as_fast_as_the_monotonic_clock() -> None:
    anchor = time.monotonic_ns()
    clock = ScaledClock(1_000_000, 60, anchor)
    before = time.monotonic_ns()
    now = clock.now_ms()
    after = time.monotonic_ns()
    assert (before - anchor) * 60 // 1_000_000 <= now - 1_000_000 <= (after - anchor) * 60 // 1_000_000


def test_two_scaled_clocks_of_the_same_anchor_tell_the_same_time() -> None:
    one = ScaledClock(5_000, 100_000)
    two = ScaledClock(5_000, 100_000, one.since_ns)
    first, second, third = one.now_ms(), two.now_ms(), one.now_ms()
    assert first <= second <= third


def test_market_time_takes_its_share_of_real_time() -> None:
    assert ScaledClock(0, 60).real_seconds(90) == 1.5


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_time_runs_forward(speed: float) -> None:
    with pytest.raises(ValueError, match="runs forward"):
        ScaledClock(0, speed)
