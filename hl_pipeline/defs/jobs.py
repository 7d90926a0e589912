"""What an operator can start, by name."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.assets.candle_history import asset_name
from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.assets.endpoint_health import endpoint_health
from hl_pipeline.defs.assets.funding_rates import funding_rates
from hl_pipeline.defs.assets.gap_queue import gap_queue
from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.markets import market_contexts, markets
from hl_pipeline.defs.assets.pipeline_report import pipeline_report
from hl_pipeline.defs.assets.retention import retention as retention_asset
from hl_pipeline.defs.assets.service_levels import service_levels
from hl_pipeline.defs.assets.system_health import system_health
from hl_pipeline.defs.checks.funding import funding_is_fresh
from hl_pipeline.defs.checks.machinery import machinery
from hl_pipeline.defs.checks.vitals import vital_signs
from hl_pipeline.model.interval import Interval

LANE = "hl/lane"

collect = dg.define_asset_job(
    "collect",
    # the cheap checks too: Dagster calls a check "not evaluated" once its asset is newer than its last result
    selection=dg.AssetSelection.assets(
        market_contexts, live_candles, confidence_scores, latest_metrics
    ).without_checks()
    | dg.AssetSelection.checks(vital_signs),
    description="Bring the live edge of every tracked market up to date: quotes, candles, confidence, latest metrics; "
    "then evaluate the cheap checks.",
    tags={LANE: "live"},
)

refresh_markets = dg.define_asset_job(
    "refresh_markets",
    selection=dg.AssetSelection.assets(markets).without_checks(),
    description="Learn which markets exist and what changed about them; feeds the market partitions.",
    tags={LANE: "live"},
)

refresh_funding = dg.define_asset_job(
    "refresh_funding",
    selection=dg.AssetSelection.assets(funding_rates).without_checks() | dg.AssetSelection.checks(funding_is_fresh),
    description="Read the funding rates of every tracked perpetual market on to now; then check that they are fresh.",
    # a lane of its own: a first reading takes minutes, and must neither hold up collections nor wait for a back-fill
    tags={LANE: "funding"},
)

drain_gaps = dg.define_asset_job(
    "drain_gaps",
    selection=dg.AssetSelection.assets(gap_queue).without_checks(),
    description="Ask for the gaps behind the live edge that are due, nearest deadline first, in the gap lane; those "
    "under 12 h from their deadline in the urgent lane.",
    tags={LANE: "gap"},
)

backfill_candles = dg.define_asset_job(
    "backfill_candles",
    selection=dg.AssetSelection.assets(*(asset_name(interval) for interval in Interval)).without_checks(),
    description="Complete chosen months of chosen markets at all six intervals, in the back-fill lane.",
    tags={LANE: "backfill"},
)

recalculate_confidence = dg.define_asset_job(
    "recalculate_confidence",
    selection=dg.AssetSelection.assets(confidence_scores, latest_metrics).without_checks(),
    description="Score every series again from what is stored, and refresh the latest metrics; no request.",
    tags={LANE: "live"},
)

health = dg.define_asset_job(
    "health",
    selection=dg.AssetSelection.assets(endpoint_health, system_health, pipeline_report).without_checks()
    | dg.AssetSelection.checks(vital_signs, machinery),
    description="Look after the endpoints, write a line of the health log and the status report, evaluate the cheap "
    "checks; asks an endpoint for its clock when nobody did for a minute, and nothing else.",
)

contracts = dg.define_asset_job(
    "contracts",
    selection=dg.AssetSelection.assets(data_contracts),
    description="The thorough checks: the ledger against every candle, and the Great Expectations suites.",
)

measure_service_levels = dg.define_asset_job(
    "measure_service_levels",
    selection=dg.AssetSelection.assets(service_levels),
    description="Hold the promises against what was measured over a day and a week, and the newest runs against those "
    "before; no request.",
)

apply_retention = dg.define_asset_job(
    "apply_retention",
    selection=dg.AssetSelection.assets(retention_asset),
    description="Drop what is older than its bound (HL_RETENTION_*), months of candles and quotes only after an export "
    "that was read back. The config's dry_run only says what is due. Asks the exchange nothing.",
)
