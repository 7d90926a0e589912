"""Other people's clients, unmodified, read the sandbox: if they are content, it is faithful enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from queue import SimpleQueue
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock, ScaledClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.worlds import NOW

DAY = 86_400_000


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    world = World(7, clock=ManualClock(NOW), history_days=10)
    with RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE)) as running:
        yield running


# third-party modules warn about their own dependencies when imported
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_sdk_reads_markets_and_candles(sandbox: RunningSandbox) -> None:
    from hyperliquid.info import Info

    info = Info(sandbox.url, skip_ws=True, perp_dexs=["", "xyz"])
    try:
        assert info.name_to_coin["HYPE/USDC"] == "@107"
        assert info.asset_to_sz_decimals[0] == 5
        assert "xyz:TSLA" in info.coin_to_asset
        assert Decimal(info.all_mids()["BTC"]) > 0
        rows = info.candles_snapshot("kPEPE", "15m", NOW - DAY, NOW)
        truth = sandbox.truth.candles("kPEPE", Interval.M15, rows[0]["t"], rows[-1]["t"])
        assert [(row["t"], row["c"], row["v"], row["n"]) for row in rows[:-1]] == [
            (candle.open_ms, candle.close, candle.volume, candle.trades) for candle in truth
        ]
        assert len(info.funding_history("BTC", NOW - DAY)) == 24
    finally:
        info.session.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ccxt_loads_every_kind_of_market_and_reads_candles(sandbox: RunningSandbox) -> None:
    import ccxt

    client: Any = ccxt.hyperliquid(
        {"enableRateLimit": False, "urls": {"api": {"public": sandbox.url, "private": sandbox.url}}}
    )
    try:
        markets = client.load_markets()
        assert {"BTC/USDC:USDC", "HYPE/USDC:USDC", "HYPE/USDC", "PURR/USDC"} <= set(markets)
        assert any(market["info"].get("name") == "xyz:TSLA" for market in markets.values())
        rows = client.fetch_ohlcv("BTC/USDC:USDC", "1m", since=NOW - 4 * DAY, limit=5000)
        truth = sandbox.truth.candles("BTC", Interval.M1, rows[0][0], rows[-1][0])
        assert [(row[0], row[4]) for row in rows[:-1]] == [(candle.open_ms, float(candle.close)) for candle in truth]
        assert len(rows) > 4_990
    finally:
        client.session.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_sdk_s_socket_hears_candles_contexts_mids_and_trades() -> None:
    from hyperliquid.info import Info

    heard: SimpleQueue[Any] = SimpleQueue()
    world = World(7, markets=markets_named("BTC", "@107"), clock=ScaledClock(NOW, 120), history_days=2)
    with RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(missed_tail_ms=0)) as sandbox:
        info = Info(sandbox.url)
        try:
            candle = {"type": "candle", "coin": "BTC", "interval": "1m"}
            others: list[Any] = [
                {"type": "trades", "coin": "BTC"},
                {"type": "allMids"},
                {"type": "activeAssetCtx", "coin": "BTC"},
                {"type": "activeAssetCtx", "coin": "@107"},
            ]
            number = info.subscribe(candle, heard.put)
            for wish in others:
                info.subscribe(wish, heard.put)
            first = listen_for(heard, lambda seen, rows: len(seen) == 5 and len({row["t"] for row in rows}) > 3)
            assert info.unsubscribe(candle, number)
        finally:
            info.disconnect_websocket()
            info.ws_manager.join(10)
            info.session.close()
        minutes = sorted({row["t"] for row in first})[1:-1]
        truth = sandbox.truth.candles("BTC", Interval.M1, minutes[0], minutes[-1] + 1)
        last = {row["t"]: row for row in first}
        assert [(t, last[t]["c"], last[t]["v"], last[t]["n"]) for t in minutes] == [
            (row.open_ms, row.close, row.volume, row.trades) for row in truth
        ]


def listen_for(heard: SimpleQueue[Any], enough: Callable[[set[str], list[Any]], bool]) -> list[Any]:
    """The candles heard until there is enough, judged by the channels seen and the candles."""
    seen: set[str] = set()
    rows: list[Any] = []
    while not enough(seen, rows):
        message = heard.get(timeout=10)
        seen.add(message["channel"])
        if message["channel"] == "candle":
            rows.append(message["data"])
    return rows
