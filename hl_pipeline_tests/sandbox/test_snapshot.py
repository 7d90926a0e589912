from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.world import STEPS_MS, Manners, QuietMode, WindowMode
from hl_pipeline_tests.sandbox.worlds import BTC, DAY_MS, GONE, NOW, SOON, ask, candle_body, candles, exchange, world

MINUTE = 60_000


def as_model(row: dict[str, object]) -> Candle:
    return Candle(*(row[name] for name in ("t", "o", "h", "l", "c", "v", "n")))  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", list(Interval))
@pytest.mark.parametrize("coin", ["BTC", "SLOW", "xyz:TSLA", "@107", "PURR/USDC"])
def test_closed_candles_on_the_wire_are_the_truth(coin: str, interval: Interval) -> None:
    there = exchange()
    rows = candles(there, coin, interval, 0, None)
    head = interval.floor(NOW)
    oldest = interval.oldest_reachable(NOW)
    assert [as_model(row) for row in rows[:-1]] == there.world.truth.candles(coin, interval, oldest, head)
    assert rows[-1]["t"] == head


def test_the_newest_five_thousand_are_kept_the_open_one_among_them() -> None:
    rows = candles(exchange(), "BTC", "1m", 0, NOW)
    assert len(rows) == WINDOW_SLOTS
    assert rows[0]["t"] == Interval.M1.oldest_reachable(NOW)
    assert rows[-1]["t"] < NOW <= rows[-1]["T"]
    assert all(b["t"] - a["t"] == MINUTE for a, b in pairwise(rows))


def test_a_window_older_than_that_is_empty_and_no_error() -> None:
    assert candles(exchange(), "BTC", "1m", NOW - 30 * DAY_MS, NOW - 29 * DAY_MS) == []


def test_a_window_holds_every_candle_it_overlaps() -> None:
    inside = NOW - 10 * MINUTE  # 30.5 s into its minute
    rows = candles(exchange(), "BTC", "1m", inside, inside)
    assert [row["t"] for row in rows] == [Interval.M1.floor(inside)]


@given(st.integers(0, 3_000_000), st.integers(0, 3_000_000), st.sampled_from(["1m", "5m", "15m", "1h"]))
@settings(max_examples=80, deadline=None)
def test_floored_and_strict_windows_follow_their_rule(start: int, length: int, interval: str) -> None:
    there = exchange(world())
    low, high = NOW - 4_000_000 + start, NOW - 4_000_000 + start + length
    every = candles(there, "BTC", interval, NOW - 9_000_000, NOW)
    floored = [row for row in every if row["T"] >= low and row["t"] <= high]
    assert candles(there, "BTC", interval, low, high) == floored
    there.manners = Manners(QuietMode.DENSE, WindowMode.STRICT)
    assert candles(there, "BTC", interval, low, high) == [row for row in floored if row["t"] >= low]


def test_the_open_candle_comes_last_with_a_final_close_time_and_partial_values() -> None:
    here = world()
    there = exchange(here)
    row = candles(there, "BTC", "1h", NOW - 1, NOW)[0]
    final = here.truth.candles("BTC", Interval.H1, row["t"], row["t"] + 1)[0]
    assert row["T"] == row["t"] + 3_600_000 - 1 > NOW
    assert row["o"] == final.open
    assert 0 < row["n"] < final.trades
    assert isinstance(here.clock, ManualClock)
    here.clock.set(row["T"] + 1)
    assert as_model(candles(there, "BTC", "1h", row["t"], row["t"])[0]) == final


def test_keys_come_in_the_order_of_the_recorded_answers() -> None:
    row = candles(exchange(), "BTC", "15m", NOW, NOW)[0]
    assert list(row) == ["t", "T", "s", "i", "o", "c", "h", "l", "v", "n"]
    assert (row["s"], row["i"]) == ("BTC", "15m")


def test_dense_sends_quiet_minutes_and_sparse_does_not() -> None:
    dense = candles(exchange(quiet=QuietMode.DENSE), "SLOW", "1m", NOW - DAY_MS, NOW)
    sparse = candles(exchange(quiet=QuietMode.SPARSE), "SLOW", "1m", NOW - DAY_MS, NOW)
    assert len(dense) == 1441
    assert sparse == [row for row in dense if row["n"]]
    assert len(sparse) < len(dense)


def test_with_lag_a_quiet_minute_is_first_absent_and_later_there() -> None:
    here = world()
    there = exchange(here, quiet=QuietMode.DENSE_WITH_LAG)
    dense = candles(exchange(world()), "SLOW", "1m", NOW - DAY_MS, NOW)
    seen = candles(there, "SLOW", "1m", NOW - DAY_MS, NOW)
    missing = [row for row in dense if row not in seen]
    assert missing
    assert all(row["n"] == 0 and row["t"] > NOW - 11 * MINUTE for row in missing)
    assert all(row in seen for row in dense if row["t"] < NOW - 12 * MINUTE)
    assert isinstance(here.clock, ManualClock)
    here.clock.advance(12 * MINUTE)
    closed = [row for row in missing if row["T"] < NOW]
    assert closed
    healed = candles(there, "SLOW", "1m", NOW - DAY_MS, NOW)
    assert all(row in healed for row in closed)


def test_reference_prices_before_the_listing_are_sent_in_every_mode() -> None:
    assert BTC.reference_ms is not None
    for quiet in QuietMode:
        rows = candles(exchange(quiet=quiet), "BTC", "1d", BTC.reference_ms, BTC.listed_ms - 1)
        assert len(rows) == 25
        assert all(row["n"] == 0 and row["v"] == "0.0" and row["h"] != row["l"] for row in rows)


def test_a_delisted_market_keeps_its_old_candles_and_has_no_new_ones() -> None:
    there = exchange()
    assert candles(there, "GONE", "1m", 0, NOW) == []
    days = candles(there, "GONE", "1d", 0, NOW)
    assert days[-1]["t"] == Interval.D1.floor(GONE.delisted_ms or 0)


def test_a_market_exists_from_its_listing_on() -> None:
    here = world()
    there = exchange(here)
    body = candle_body("SOON", "1m", 0, None)
    assert ask(there, body).status == 500
    assert isinstance(here.clock, ManualClock)
    here.clock.set(SOON.listed_ms + 2 * MINUTE)
    rows = json.loads(ask(there, body).body)
    assert [row["t"] for row in rows] == [SOON.listed_ms + k * MINUTE for k in range(3)]
    assert candles(there, "SOON", "1d", 0, None)[0]["t"] == Interval.D1.floor(SOON.listed_ms)


@pytest.mark.parametrize("interval", list(STEPS_MS))
def test_every_interval_of_fixed_length_is_answered(interval: str) -> None:
    rows = candles(exchange(), "BTC", interval, NOW - 3 * DAY_MS, NOW)
    assert all(row["T"] - row["t"] + 1 == STEPS_MS[interval] for row in rows)
    assert rows[-1]["t"] <= NOW <= rows[-1]["T"]


def test_kept_answers_are_dropped_when_the_clock_moves() -> None:
    here = world()
    there = Exchange(here, limiter=WeightLimiter(LimiterMode.OFF), instant=True)
    before = candles(there, "BTC", "1m", 0, None)
    assert candles(there, "BTC", "1m", 0, None) == before
    assert isinstance(here.clock, ManualClock)
    here.clock.advance(MINUTE)
    assert candles(there, "BTC", "1m", 0, None)[-1]["t"] == before[-1]["t"] + MINUTE


def test_prewarming_counts_the_rows_it_encoded() -> None:
    assert exchange().prewarm(["BTC"], ["1m", "5m"]) == 2 * WINDOW_SLOTS
