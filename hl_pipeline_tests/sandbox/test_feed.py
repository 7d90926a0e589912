from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.feed import Feed, Frame
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.path import LATE_MS
from hl_pipeline.sandbox.subscriptions import Topic
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW, candles, world

MINUTE = 60_000
FLOOR = NOW - NOW % MINUTE
BTC = Topic("candle", "BTC", "1m")


def exchange(manners: Manners | None = None, now_ms: int = NOW, seed: int = 7) -> Exchange:
    here = World(seed, markets=MARKETS, clock=ManualClock(now_ms))
    return Exchange(here, manners=manners or Manners(QuietMode.DENSE), limiter=WeightLimiter(LimiterMode.OFF))


def feed_of(there: Exchange, *topics: Topic) -> Feed:
    feed = Feed(there, there.world.clock.now_ms())
    for topic in topics:
        feed.watch(topic)
    return feed


def data(frame: Frame) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(frame.text)["data"]
    return found


def walk(feed: Feed, to_ms: int, step_ms: int) -> list[Frame]:
    """What is told when the clock is looked at every ``step_ms``."""
    frames: list[Frame] = []
    while feed.seen_ms < to_ms:
        frames.extend(feed.until(min(to_ms, feed.seen_ms + step_ms)))
    return frames


def closed_by_rest(there: Exchange, coin: str, interval: str, start_ms: int, end_ms: int) -> dict[int, dict[str, Any]]:
    clock = there.world.clock
    assert isinstance(clock, ManualClock)
    clock.set(max(clock.now_ms(), end_ms + 3_600_000))
    return {row["t"]: row for row in candles(there, coin, interval, start_ms, end_ms - 1)}


def grows(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return (
        one["n"] < two["n"]
        and one["o"] == two["o"]
        and Decimal(one["v"]) < Decimal(two["v"])
        and Decimal(one["h"]) <= Decimal(two["h"])
        and Decimal(one["l"]) >= Decimal(two["l"])
    )


@given(
    seed=st.integers(0, 10**6),
    coin=st.sampled_from(["BTC", "SLOW", "xyz:TSLA", "@107"]),
    start=st.integers(0, 5 * MINUTE),
    step=st.integers(500, 20_000),
    tail=st.sampled_from([0, LATE_MS, 5_000]),
)
@settings(max_examples=25, deadline=None)
def test_a_minute_s_frames_only_grow_and_the_last_is_rest_s_candle_or_misses_its_tail(
    seed: int, coin: str, start: int, step: int, tail: int
) -> None:
    there = exchange(Manners(QuietMode.DENSE, missed_tail_ms=tail), NOW + start, seed)
    topics = (Topic("candle", coin, "1m"), Topic("trades", coin))
    end = FLOOR + 15 * MINUTE
    by_minute: dict[int, list[dict[str, Any]]] = defaultdict(list)
    trades: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for frame in walk(feed_of(there, *topics), end - 1, step):
        if frame.topic.channel == "candle":
            by_minute[data(frame)["t"]].append(data(frame))
        else:
            for trade in json.loads(frame.text)["data"]:
                trades[trade["time"] // MINUTE * MINUTE].append(trade)
    first_whole = (NOW + start) // MINUTE * MINUTE + MINUTE
    truth = closed_by_rest(there, coin, "1m", first_whole, end)
    assert set(by_minute) - {first_whole - MINUTE} == {t for t, row in truth.items() if row["n"]}
    for open_ms, row in truth.items():
        told = by_minute.get(open_ms, [])
        assert all(grows(one, two) for one, two in pairwise(told))
        missed = [trade for trade in trades[open_ms] if trade["time"] >= open_ms + MINUTE - tail]
        if told and (not missed or len(missed) == row["n"]):
            assert told[-1] == row
        elif told:
            assert told[-1]["n"] == row["n"] - len(missed)
            assert all(told[-1][name] == row[name] for name in ("t", "T", "s", "i", "o"))
        assert len(trades[open_ms]) == row["n"]
        assert sum(Decimal(trade["sz"]) for trade in trades[open_ms]) == pytest.approx(
            Decimal(row["v"]), rel=Decimal("1e-9")
        )


def test_a_minute_with_two_trades_or_more_is_told_twice_at_least() -> None:
    there = exchange(Manners(QuietMode.DENSE, frame_gap_ms=60_000, missed_tail_ms=0))
    told: dict[int, int] = defaultdict(int)
    for frame in walk(feed_of(there, BTC), FLOOR + 30 * MINUTE - 1, 100):
        told[data(frame)["t"]] += 1
    truth = closed_by_rest(there, "BTC", "1m", FLOOR + MINUTE, FLOOR + 30 * MINUTE)
    assert all(told[t] >= 2 for t, row in truth.items() if row["n"] > 1)


@given(st.integers(0, 3 * MINUTE), st.sampled_from(["1m", "3m", "5m", "15m", "1h", "4h", "1d"]))
@settings(max_examples=30, deadline=None)
def test_a_frame_is_what_rest_would_say_of_the_open_candle_at_that_instant(later: int, interval: str) -> None:
    there = exchange(Manners(QuietMode.DENSE, frame_gap_ms=1, missed_tail_ms=0))
    clock = there.world.clock
    assert isinstance(clock, ManualClock)
    feed = feed_of(there, Topic("candle", "BTC", interval))
    for frame in walk(feed, NOW + later + 5_000, 50):
        clock.set(frame.at_ms)
        assert data(frame) == candles(there, "BTC", interval, frame.at_ms, None)[-1]


def test_a_clock_that_jumps_tells_each_minute_s_last_frame_before_the_next_minute() -> None:
    there = exchange(Manners(QuietMode.DENSE, missed_tail_ms=0))
    frames = [data(frame) for frame in feed_of(there, BTC).until(FLOOR + 10 * MINUTE + 30_000)]
    assert [row["t"] for row in frames] == [FLOOR + number * MINUTE for number in range(11)]
    truth = closed_by_rest(there, "BTC", "1m", FLOOR, FLOOR + 10 * MINUTE)
    assert frames[:-1] == list(truth.values())


def test_all_markets_roll_from_minute_to_minute_together() -> None:
    feed = feed_of(exchange(), BTC, Topic("candle", "@107", "1m"), Topic("candle", "PURR/USDC", "1m"))
    opens = [data(frame)["t"] for frame in feed.until(NOW + 30 * MINUTE)]
    assert opens == sorted(opens)
    assert len(opens) > 60


def test_no_frame_comes_for_what_happened_before_the_subscription() -> None:
    there = exchange()
    feed = feed_of(there)
    assert list(feed.until(NOW + 5 * MINUTE)) == []
    feed.watch(BTC)
    assert list(feed.until(NOW + 5 * MINUTE)) == []
    told = [data(frame) for frame in feed.until(NOW + 6 * MINUTE)]
    already = there.world.truth.open_candle("BTC", MINUTE, NOW + 5 * MINUTE)
    assert all(row["n"] > already.trades[0] for row in told if row["t"] == FLOOR + 5 * MINUTE)
    assert {row["t"] for row in told} <= {FLOOR + 5 * MINUTE, FLOOR + 6 * MINUTE}


def test_what_nobody_watches_any_more_is_told_no_more_and_may_be_watched_again() -> None:
    feed = feed_of(exchange(), BTC, BTC)
    feed.unwatch(BTC)
    assert list(feed.until(NOW + MINUTE))
    feed.unwatch(BTC)
    assert list(feed.until(NOW + 5 * MINUTE)) == []
    feed.watch(BTC)
    opens = [data(frame)["t"] for frame in feed.until(FLOOR + 9 * MINUTE - 1)]
    assert opens[-3:] == [FLOOR + number * MINUTE for number in (6, 7, 8)]


def test_skipped_time_is_not_told() -> None:
    feed = feed_of(exchange(), BTC, Topic("activeAssetCtx", "BTC"))
    feed.skip(NOW + 1000 * MINUTE)
    opens = [data(frame)["t"] for frame in feed.until(FLOOR + 1003 * MINUTE - 1) if frame.topic == BTC]
    assert opens[-2:] == [FLOOR + number * MINUTE for number in (1001, 1002)]
    assert min(opens) >= FLOOR + 1000 * MINUTE


def test_contexts_and_mids_come_in_their_pace_and_as_rest_tells_them() -> None:
    there = exchange()
    perp, spot, mids = Topic("activeAssetCtx", "BTC"), Topic("activeAssetCtx", "@107"), Topic("allMids", "")
    frames = walk(feed_of(there, perp, spot, mids, Topic("allMids", "xyz")), FLOOR + MINUTE - 1, 1_000)
    count = (FLOOR + MINUTE - 1 - NOW) // there.manners.quote_gap_ms
    for topic in (perp, spot, mids):
        assert sum(frame.topic == topic for frame in frames) in (count, count + 1)
    by_topic = {frame.topic: json.loads(frame.text) for frame in frames}
    meta, contexts = json.loads(there.answer(b'{"type":"metaAndAssetCtxs"}').body)
    position = [market["name"] for market in meta["universe"]].index("BTC")
    assert by_topic[perp] == {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": contexts[position]}}
    assert by_topic[spot]["channel"] == "activeSpotAssetCtx"
    assert by_topic[mids]["data"]["mids"] == json.loads(there.answer(b'{"type":"allMids"}').body)
    assert by_topic[Topic("allMids", "xyz")]["data"]["dex"] == "xyz"


def test_a_market_that_is_delisted_falls_silent() -> None:
    gone = next(market for market in MARKETS if market.coin == "GONE")
    assert gone.delisted_ms is not None
    there = exchange(now_ms=gone.delisted_ms - 30 * MINUTE)
    frames = list(feed_of(there, Topic("candle", "GONE", "1m")).until(gone.delisted_ms + 60 * MINUTE))
    assert frames
    assert max(data(frame)["T"] for frame in frames) < gone.delisted_ms


def test_the_same_seed_tells_the_same_frames() -> None:
    def told(seed: int) -> list[str]:
        return [frame.text for frame in feed_of(exchange(seed=seed), BTC).until(NOW + 9 * MINUTE)]

    assert told(1) == told(1) != told(2)
    assert world().truth.trades_key("BTC") != world().truth.trades_key("SLOW")
