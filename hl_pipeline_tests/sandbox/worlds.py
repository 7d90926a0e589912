"""Small worlds and a plain client for the sandbox's tests."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.market import MarketKind
from hl_pipeline.sandbox.catalogue import DAY_MS, MarketSpec, day, default_markets
from hl_pipeline.sandbox.exchange import Answer, Exchange
from hl_pipeline.sandbox.faults import FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.world import Manners, QuietMode, World

#: 30.5 s into a minute of a Tuesday noon.
NOW = day("2026-03-10") + 12 * 3_600_000 + 30_500
MINUTE = 60_000

BTC = MarketSpec("BTC", 64_000.0, 5, 40, listed_ms=day("2023-02-26"), reference_ms=day("2023-02-01"))
SLOW = MarketSpec("SLOW", 0.5, 1, 3, listed_ms=day("2025-01-01"), quiet=0.5)
GONE = MarketSpec("GONE", 2.0, 1, 3, listed_ms=day("2025-01-01"), delisted_ms=day("2025-11-01") + 90 * MINUTE)
SOON = MarketSpec("SOON", 5.0, 1, 3, listed_ms=day("2026-03-11") + 7 * MINUTE)
TSLA = MarketSpec("xyz:TSLA", 400.0, 3, 10, kind=MarketKind.BUILDER, dex="xyz", listed_ms=day("2025-11-01"))
_BY_COIN = {market.coin: market for market in default_markets()}
PURR, SPOT = _BY_COIN["PURR/USDC"], _BY_COIN["@107"]
MARKETS = (BTC, SLOW, GONE, SOON, TSLA, PURR, SPOT)


def world(now_ms: int = NOW, seed: int = 7) -> World:
    return World(seed, markets=MARKETS, clock=ManualClock(now_ms))


def exchange(
    here: World | None = None, *, quiet: QuietMode = QuietMode.DENSE, faults: FaultPlan | None = None
) -> Exchange:
    """An exchange without limits whose clock stands still."""
    limiter = WeightLimiter(LimiterMode.OFF)
    return Exchange(here or world(), manners=Manners(quiet), limiter=limiter, faults=faults)


def ask(there: Exchange, body: dict[str, Any], client: str = "local") -> Answer:
    return there.answer(json.dumps(body).encode(), client)


def candles(there: Exchange, coin: str, interval: str, start_ms: int, end_ms: int | None) -> list[dict[str, Any]]:
    answer = ask(there, candle_body(coin, interval, start_ms, end_ms))
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = json.loads(answer.body)
    assert answer.rows == len(rows)
    return rows


def candle_body(coin: str, interval: str, start_ms: int, end_ms: int | None) -> dict[str, Any]:
    req = {"coin": coin, "interval": interval, "startTime": start_ms, "endTime": end_ms}
    return {"type": "candleSnapshot", "req": req}


def post(url: str, body: object, *, method: str = "POST", timeout: float = 10.0) -> tuple[int, bytes, str]:
    """Status, body and content type of one request; error statuses are answers like any other."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout)
    with closing(connection):
        connection.request(method, f"/{path}", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["content-type"]


__all__ = ["DAY_MS", "MARKETS", "NOW", "ask", "candle_body", "candles", "exchange", "post", "world"]
