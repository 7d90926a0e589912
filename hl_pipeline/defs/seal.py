"""Brings Dagster's partitions up to the ledger: months that became whole since somebody last ran them.

The live edge and the healing of gaps complete months without touching the
partitioned assets; this reports them, without a run of their own.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Collection, Mapping

import dagster as dg
from dagster import DagsterEventType

from hl_pipeline.defs.assets.candle_history import asset_name, materialization
from hl_pipeline.defs.describe import said_plainly
from hl_pipeline.defs.history import DATA_VERSION, SEALED, data_version, partition_key
from hl_pipeline.defs.partitions import month_span, months
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import partitions, series
from hl_pipeline.storage.partitions import PartitionState

#: A month that ended longer ago than this is not revised any more.
REVISABLE_MS = 40 * 24 * 60 * MINUTE_MS


@dg.op(out=dg.Out(dg.Nothing), tags={"kind": "postgres"})
def report_whole_months(context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Record every whole month whose content Dagster does not know yet, at each of the six intervals."""
    with said_plainly():
        for interval in pipeline.settings.intervals:
            reported, sealed = _report(context, pipeline, interval)
            context.log.info("%s: %d months reported, %d of them sealed", asset_name(interval), reported, sealed)


def _report(context: dg.OpExecutionContext, pipeline: Pipeline, interval: Interval) -> tuple[int, int]:
    key = dg.AssetKey(asset_name(interval))
    known = _known(context.instance, key)
    whole = [state for state in _states(pipeline, interval, known) if state.is_whole]
    news = [state for state in whole if known.get(partition_key(state)) != data_version(state)]
    for state in news:
        context.instance.report_runless_asset_event(materialization(key, state))
    return len(news), sum(state.is_sealed for state in news)


def _known(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The data version each partition had when it was last recorded, by partition key."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION]
    )
    return {partition: found.get(DATA_VERSION, "") for partition, found in tags.items()}


def _states(pipeline: Pipeline, interval: Interval, known: Mapping[str, str]) -> list[PartitionState]:
    """The months worth a look: not all sealed yet, or young enough to be revised."""
    now_ms = pipeline.clock.now_ms()
    with pipeline.database.connection() as connection:
        tracked = series.load(connection, intervals=[interval])
        coins = [state.key.coin for state in tracked]
        begins = min((state.expected_start_ms for state in tracked), default=now_ms)
        wanted = [
            span.start_ms
            for month in months.get_partition_keys(current_time=to_datetime(now_ms))
            if (span := month_span(month)).end_ms > begins
            and (span.end_ms > now_ms - REVISABLE_MS or not _all_sealed(coins, month, known))
        ]
        return partitions.states(
            connection,
            interval,
            coins=coins,
            month_starts_ms=wanted,
            now_ms=now_ms,
            settle_ms=pipeline.policy.proof.settle_ms,
        )


def _all_sealed(coins: Collection[str], month: str, known: Mapping[str, str]) -> bool:
    keys = (dg.MultiPartitionKey({"market": coin, "month": month}) for coin in coins)
    return all(known.get(key, "").startswith(SEALED) for key in keys)


@dg.job(
    name="seal",
    description="Record the months that became whole since they were last looked at, so that the partition bars "
    "follow the ledger. Asks the exchange nothing.",
    executor_def=dg.in_process_executor,
)
def seal_months() -> None:
    """The nightly look over all months."""
    report_whole_months()
