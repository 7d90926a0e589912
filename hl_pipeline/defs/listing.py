"""Everything Dagster shows, listed by name.

Loading it does no I/O and needs no secret, no database and no variable; the
resources read ``HL_*`` when a run begins. Tests and the demo call ``build``
with parts of their own.
"""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs import jobs, schedules
from hl_pipeline.defs.assets.candle_history import candle_history
from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.markets import market_contexts, markets
from hl_pipeline.defs.resources import pipeline_from_environment, settings_from_environment
from hl_pipeline.defs.seal import seal_months
from hl_pipeline.defs.sensors.failures import alert_on_failed_runs, follow_successful_runs
from hl_pipeline.defs.sensors.freshness import restart_stalled_collection
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline.settings import Settings

HISTORY_ASSETS = [candle_history(interval) for interval in Interval]


def build(*, pipeline: Pipeline | None = None, settings: Settings | None = None) -> dg.Definitions:
    """All definitions, on the given parts or on those that ``HL_*`` names.

    ``pipeline`` may be one that is already open (it is not closed here).
    """
    return dg.Definitions(
        assets=[markets, market_contexts, live_candles, confidence_scores, latest_metrics, *HISTORY_ASSETS],
        jobs=[jobs.collect, jobs.refresh_markets, jobs.backfill_candles, jobs.recalculate_confidence, seal_months],
        sensors=[restart_stalled_collection, alert_on_failed_runs, follow_successful_runs],
        schedules=[schedules.collect_each_minute, schedules.refresh_markets_hourly, schedules.seal_nightly],
        resources={
            "pipeline": pipeline or pipeline_from_environment,
            "settings": settings or settings_from_environment,
        },
        executor=dg.in_process_executor,
    )
