from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.catalogue import DAY_MS, default_markets, markets_named
from hl_pipeline.sandbox.truth import Truth
from hl_pipeline_tests.sandbox.worlds import BTC, GONE, MARKETS, MINUTE, NOW, SLOW, SPOT

REPO = Path(__file__).parents[2]
TRUTH = Truth(7, MARKETS)
START = NOW - NOW % DAY_MS - 9 * DAY_MS
minutes = st.integers(0, 9 * 1440)


def merged(rows: list[Candle], interval: Interval) -> list[Candle]:
    """Coarser candles by the plainest means."""
    made = []
    for open_ms, group in itertools.groupby(rows, key=lambda row: interval.floor(row.open_ms)):
        whole = list(group)
        # a price is a trade's: a quiet minute has none to add
        slot = [row for row in whole if row.trades] or whole
        volume = format(sum((Decimal(row.volume) for row in slot), Decimal(0)).normalize(), "f")
        made.append(
            Candle(
                open_ms,
                slot[0].open,
                max((row.high for row in slot), key=Decimal),
                min((row.low for row in slot), key=Decimal),
                slot[-1].close,
                volume if "." in volume else f"{volume}.0",
                sum(row.trades for row in slot),
            )
        )
    return made


@given(st.sampled_from(["BTC", "SLOW", "@107"]), minutes, minutes)
@settings(max_examples=40, deadline=None)
def test_any_window_is_a_slice_of_a_bigger_one(coin: str, one: int, other: int) -> None:
    low, high = START + min(one, other) * MINUTE, START + max(one, other) * MINUTE
    whole = TRUTH.candles(coin, Interval.M1, START, START + 9 * DAY_MS)
    fresh = Truth(7, MARKETS)
    assert fresh.candles(coin, Interval.M1, low, high) == [row for row in whole if low <= row.open_ms < high]


@pytest.mark.parametrize("interval", [i for i in Interval if i is not Interval.M1])
@pytest.mark.parametrize("coin", ["BTC", "SLOW", "@107"])
def test_coarser_candles_are_exact_aggregates_of_the_minutes(coin: str, interval: Interval) -> None:
    rows = TRUTH.candles(coin, Interval.M1, START, START + 5 * DAY_MS)
    assert TRUTH.candles(coin, interval, START, START + 5 * DAY_MS) == merged(rows, interval)


def test_the_first_and_last_coarse_candle_cover_only_the_market_s_life() -> None:
    first, end = TRUTH.life("GONE")
    minutes_left = TRUTH.candles("GONE", Interval.M1, end - 2 * DAY_MS, end + DAY_MS)
    assert minutes_left[-1].open_ms == end - MINUTE
    assert (
        TRUTH.candles("GONE", Interval.D1, end - 2 * DAY_MS, end + DAY_MS)[-1] == merged(minutes_left, Interval.D1)[-1]
    )
    assert TRUTH.candles("GONE", Interval.D1, 0, end)[0].open_ms == Interval.D1.floor(first)


def test_another_process_tells_the_same_history() -> None:
    code = (
        "import hashlib\n"
        "from hl_pipeline.model.interval import Interval\n"
        "from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW\n"
        "from hl_pipeline.sandbox.truth import Truth\n"
        "rows = Truth(7, MARKETS).candles('BTC', Interval.M5, NOW - 86400000, NOW)\n"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env={**os.environ, "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = TRUTH.candles("BTC", Interval.M5, NOW - DAY_MS, NOW)
    assert told.stdout.strip() == hashlib.sha256(repr(here).encode()).hexdigest()


def test_another_seed_is_another_history() -> None:
    assert Truth(8, MARKETS).candles("BTC", Interval.H1, START, NOW) != TRUTH.candles("BTC", Interval.H1, START, NOW)


@pytest.mark.parametrize("market", [BTC, SLOW, SPOT], ids=lambda market: market.coin)
def test_prices_look_like_the_exchange_s(market: object) -> None:
    coin = market.coin  # type: ignore[attr-defined]
    decimals = market.price_decimals  # type: ignore[attr-defined]
    for row in TRUTH.candles(coin, Interval.M1, START, START + 2 * DAY_MS):
        o, h, low, c = (Decimal(text) for text in row[1:5])
        assert 0 < low <= min(o, c) <= max(o, c) <= h
        for text in row[1:5]:
            whole, part = text.split(".")
            significant = (whole + part).strip("0") if part != "0" else whole.strip("0")
            assert len(significant) <= 5 or part == "0"
            assert part == "0" or (len(part) <= decimals and not part.endswith("0"))


def test_volumes_are_traded_sizes_and_sometimes_carry_float_noise() -> None:
    rows = TRUTH.candles("@107", Interval.M1, START, START + 9 * DAY_MS)
    noisy = [row for row in rows if len(row.volume.split(".")[1]) == 10]
    assert 0 < len(noisy) < len(rows) // 50
    assert all(Decimal(row.volume) > 0 for row in rows if row.trades)
    assert all(abs(Decimal(row.volume) - round(Decimal(row.volume), 2)) <= Decimal("1e-10") for row in noisy)


def test_about_half_of_the_candles_open_away_from_the_last_close() -> None:
    rows = TRUTH.candles("BTC", Interval.M1, START, START + 2 * DAY_MS)
    moved = sum(b.open != a.close for a, b in itertools.pairwise(rows)) / len(rows)
    assert 0.3 < moved < 0.7


def test_a_quiet_minute_stands_still_at_the_last_close() -> None:
    rows = TRUTH.candles("SLOW", Interval.M1, START, START + 2 * DAY_MS)
    quiet = [(before, row) for before, row in itertools.pairwise(rows) if row.trades == 0]
    assert 0.3 < len(quiet) / len(rows) < 0.8
    for before, row in quiet:
        assert row[1:] == (before.close, before.close, before.close, before.close, "0.0", 0)


def test_quiet_minutes_in_a_row_make_a_quiet_coarse_candle() -> None:
    rows = TRUTH.candles("SLOW", Interval.H1, START, START + 9 * DAY_MS)
    quiet = [row for row in rows if row.trades == 0]
    assert quiet
    assert all(row.open == row.high == row.low == row.close and row.volume == "0.0" for row in quiet)


def test_before_its_listing_a_market_may_have_reference_prices_that_move_without_trades() -> None:
    rows = TRUTH.candles("BTC", Interval.D1, 0, BTC.listed_ms)
    assert rows[0].open_ms == BTC.reference_ms
    assert all(row.trades == 0 and row.volume == "0.0" and row.high != row.low for row in rows)
    assert TRUTH.candles("BTC", Interval.M1, BTC.listed_ms, BTC.listed_ms + MINUTE)[0].trades > 0


@given(st.sampled_from(list(Interval)), st.integers(0, 2 * 1440 * MINUTE), st.integers(0, 20 * MINUTE))
@settings(max_examples=60, deadline=None)
def test_an_open_candle_only_grows_towards_its_final_values(interval: Interval, at: int, later: int) -> None:
    first, second = START + at, START + at + later
    one = TRUTH.open_candle("BTC", interval.milliseconds, first)
    two = TRUTH.open_candle("BTC", interval.milliseconds, second)
    assert len(one) == len(two) == 1
    if one.open_ms[0] != two.open_ms[0]:
        two = TRUTH.block("BTC", interval.milliseconds, int(one.open_ms[0]) // (4 * DAY_MS)).between(
            int(one.open_ms[0]), int(one.open_ms[0]) + 1
        )
    assert one.open[0] == two.open[0]
    assert one.high[0] <= two.high[0]
    assert one.low[0] >= two.low[0]
    assert one.volume[0] <= two.volume[0]
    assert one.trades[0] <= two.trades[0]


def test_the_default_world_has_the_markets_people_ask_for() -> None:
    markets = {market.coin: market for market in default_markets()}
    assert sum(market.kind == "perp" for market in markets.values()) >= 230
    assert {"BTC", "ETH", "HYPE", "kPEPE", "kSHIB", "PURR/USDC", "@107", "xyz:TSLA", "POL"} <= set(markets)
    assert markets["MATIC"].delisted_ms == markets["POL"].listed_ms
    assert len(markets) == len(default_markets())


def test_a_world_may_have_only_some_of_the_catalogue_s_markets() -> None:
    assert [market.coin for market in markets_named("ETH", "BTC")] == ["BTC", "ETH"]
    with pytest.raises(KeyError, match="eth"):
        markets_named("eth")


def test_history_can_be_cut_to_some_days() -> None:
    truth = Truth(7, MARKETS, history_start_ms=START)
    assert truth.candles("BTC", Interval.D1, 0, NOW)[0].open_ms == START
    assert GONE.delisted_ms is not None
    assert truth.candles("GONE", Interval.D1, 0, NOW) == []
