"""What an operator can start, by name."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.markets import market_contexts, markets

LANE = "hl/lane"

collect = dg.define_asset_job(
    "collect",
    selection=dg.AssetSelection.assets(market_contexts, live_candles).without_checks(),
    description="Bring the live edge of every tracked market up to date: quotes, candles, confidence, latest metrics.",
    tags={LANE: "live"},
)

refresh_markets = dg.define_asset_job(
    "refresh_markets",
    selection=dg.AssetSelection.assets(markets).without_checks(),
    description="Learn which markets exist and what changed about them; feeds the market partitions.",
    tags={LANE: "live"},
)
