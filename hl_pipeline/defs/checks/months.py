"""The partitioned check of the candle history: does a market's month keep its contract?

A run that records a month, and the nightly `seal`, judge it in passing; here a
person asks: *Execute all* on an asset's checks judges the current month of every
market, and a run that is for certain partitions judges those.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import warnings
from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs.assets.candle_history import asset_name
from hl_pipeline.defs.checks.outcome import RUNBOOK, judging
from hl_pipeline.defs.months import Place, evaluations
from hl_pipeline.defs.partitions import (
    MARKET_PARTITIONS,
    by_market_and_month,
    market_and_month,
    month_span,
    months,
)
from hl_pipeline.health.months import NAME
from hl_pipeline.health.runbooks import runbook_path
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.runtime import Pipeline

_INTERVALS = {dg.AssetKey(asset_name(interval)): interval for interval in Interval}


def _specs() -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # in preview since 1.12, and the only way to a verdict a partition
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                NAME,
                asset=asset,
                partitions_def=by_market_and_month,
                description=f"The final {interval} candles of a market's month are on the grid, with ordered prices, "
                "volume exactly where there are trades, none final before its close, and as many as the ledger's final "
                "slots. Judged when a month is recorded and nightly; *Execute all* judges the current month of every "
                "market. When it fails: `hl verify`, then read the month again.",
                metadata={RUNBOOK: dg.MetadataValue.path(runbook_path(NAME))},
            )
            for asset, interval in _INTERVALS.items()
        ]


@dg.multi_asset_check(
    name="months_contract",
    specs=_specs(),
    can_subset=True,
    description="Judges the chosen months of the candle history, or the current month of every market.",
)
def months_contract(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Write one evaluation a partition and interval."""
    step = context.op_execution_context
    places = _chosen(step, pipeline)
    with judging(NAME), pipeline.database.connection() as connection:
        for key in sorted(context.selected_asset_check_keys):
            interval = _INTERVALS[key.asset_key]
            for found in evaluations(connection, key.asset_key, interval, places, pipeline.clock.now_ms()):
                step.log_event(found)  # type: ignore[arg-type]  # takes it as the context of an asset does
    yield from ()


def _chosen(step: dg.OpExecutionContext, pipeline: Pipeline) -> set[Place]:
    """The months that the run is for; without any, the current one of every market."""
    if step.has_partition_key or step.has_partition_key_range:
        chosen = [market_and_month(key) for key in step.partition_keys]
    else:
        now = to_datetime(pipeline.clock.now_ms())
        current = months.get_partition_keys(current_time=now)[-1]
        chosen = [(coin, current) for coin in step.instance.get_dynamic_partitions(MARKET_PARTITIONS)]
    return {(coin, month_span(month).start_ms) for coin, month in chosen}
