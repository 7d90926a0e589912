"""``fundingHistory``: hourly rates with jittered times, 500 a page, the oldest kept (hyperliquid.md section 3)."""

from __future__ import annotations

from typing import Any

from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS
from hl_pipeline.sandbox.catalogue import MarketSpec, day
from hl_pipeline.sandbox.describe import funding_premium, funding_rate
from hl_pipeline.sandbox.noise import stream_key
from hl_pipeline.sandbox.world import World

HOUR_MS = 3_600_000
#: Funding was paid every eight hours before this day.
HOURLY_SINCE_MS = day("2023-06-07")


def funding_history(world: World, market: MarketSpec, start_ms: int, end_ms: int, now_ms: int) -> list[dict[str, Any]]:
    """Rates paid in ``[start_ms, end_ms]``, both inclusive, oldest first, at most a page from the oldest on."""
    end = min(end_ms, now_ms, market.delisted_ms or now_ms)
    hour = max(start_ms, market.listed_ms) // HOUR_MS
    rows: list[dict[str, Any]] = []
    while hour * HOUR_MS <= end and len(rows) < FUNDING_PAGE_ROWS:
        paid = hour * HOUR_MS + _jitter(world.seed, market.coin, hour)
        if max(start_ms, market.listed_ms) <= paid <= end and (paid >= HOURLY_SINCE_MS or hour % 8 == 0):
            rows.append(
                {
                    "coin": market.coin,
                    "fundingRate": funding_rate(world.seed, market.coin, paid),
                    "premium": funding_premium(world.seed, market.coin, paid),
                    "time": paid,
                }
            )
        hour += 1
    return rows


def _jitter(seed: int, coin: str, hour: int) -> int:
    """Milliseconds late: under a second, once in 500 times minutes."""
    draw = stream_key(seed, "jitter", coin, hour)
    return 1_000 + draw % 1_432_000 if draw % 500 == 0 else draw % 900
