"""Everything Dagster shows, listed by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from hl_pipeline.defs import jobs, schedules
from hl_pipeline.defs.assets.backfill_forecast import backfill_forecast
from hl_pipeline.defs.assets.candle_history import candle_history
from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.assets.endpoint_health import endpoint_health
from hl_pipeline.defs.assets.funding_history import funding_history
from hl_pipeline.defs.assets.funding_rates import funding_rates
from hl_pipeline.defs.assets.gap_queue import gap_queue
from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.market_context_history import market_context_history
from hl_pipeline.defs.assets.markets import market_contexts, markets
from hl_pipeline.defs.assets.pipeline_report import pipeline_report
from hl_pipeline.defs.assets.retention import retention
from hl_pipeline.defs.assets.service_levels import service_levels
from hl_pipeline.defs.assets.system_health import system_health
from hl_pipeline.defs.checks.contracts import contract_suites
from hl_pipeline.defs.checks.funding import funding_is_fresh
from hl_pipeline.defs.checks.ledger import ledger_holds
from hl_pipeline.defs.checks.machinery import machinery
from hl_pipeline.defs.checks.months import months_contract
from hl_pipeline.defs.checks.reconciliation import reconciliation
from hl_pipeline.defs.checks.retention import nothing_due_is_left
from hl_pipeline.defs.checks.service_levels import promises
from hl_pipeline.defs.checks.vitals import vital_signs
from hl_pipeline.defs.dead_letters import retry_dead_letters
from hl_pipeline.defs.failover_drill import failover_drill
from hl_pipeline.defs.freshness import freshness_policies, with_freshness
from hl_pipeline.defs.resources import pipeline_from_environment, settings_from_environment
from hl_pipeline.defs.seal import seal_months
from hl_pipeline.defs.sensors.alerts import deliver_alerts
from hl_pipeline.defs.sensors.failures import alert_on_failed_runs, follow_successful_runs
from hl_pipeline.defs.sensors.freshness import restart_stalled_collection
from hl_pipeline.defs.sensors.gaps import drain_open_gaps
from hl_pipeline.defs.sensors.late_assets import follow_freshness
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

ASSETS = [
    markets,
    market_contexts,
    funding_rates,
    live_candles,
    gap_queue,
    backfill_forecast,
    *(candle_history(interval) for interval in Interval),
    funding_history,
    market_context_history,
    confidence_scores,
    latest_metrics,
    endpoint_health,
    system_health,
    pipeline_report,
    data_contracts,
    service_levels,
    retention,
]
CHECKS = [
    vital_signs,
    machinery,
    ledger_holds,
    reconciliation,
    funding_is_fresh,
    months_contract,
    contract_suites,
    promises,
    nothing_due_is_left,
]
JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    jobs.collect,
    jobs.drain_gaps,
    jobs.refresh_markets,
    jobs.refresh_funding,
    jobs.health,
    jobs.contracts,
    jobs.measure_service_levels,
    jobs.apply_retention,
    jobs.backfill_candles,
    jobs.recalculate_confidence,
    seal_months,
    retry_dead_letters,
    failover_drill,
]
SCHEDULES = [
    schedules.collect_each_minute,
    schedules.refresh_markets_hourly,
    schedules.refresh_funding_hourly,
    schedules.health_each_minute,
    schedules.contracts_hourly,
    schedules.service_levels_hourly,
    schedules.retention_nightly,
    schedules.seal_nightly,
    schedules.failover_drill_weekly,
]
SENSORS = [
    restart_stalled_collection,
    follow_freshness,
    drain_open_gaps,
    alert_on_failed_runs,
    follow_successful_runs,
    deliver_alerts,
]


def build(*, pipeline: Pipeline | None = None, settings: Settings | None = None) -> dg.Definitions:
    """All definitions, on the given parts or on those that ``HL_*`` names.

    ``pipeline`` may be one that is already open (it is not closed here).

    Raises:
        InvalidSetting: a variable is wrong, which is better known now than in each run.
    """
    used = pipeline.settings if pipeline is not None else settings or Settings.load()
    policies = freshness_policies(used.period_seconds)
    return dg.Definitions(
        assets=[with_freshness(asset, policies) for asset in ASSETS],
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={
            "pipeline": pipeline or pipeline_from_environment,
            "settings": settings or settings_from_environment,
        },
        executor=dg.in_process_executor,
        loggers={"console": dg.json_console_logger} if used.log_format == "json" else None,
    )
