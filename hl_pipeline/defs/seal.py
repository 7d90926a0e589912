"""Brings Dagster's partitions up to the ledger: months that became whole since somebody last ran them.

The live edge and the healing of gaps complete months without touching the
partitioned assets; this reports them, without a run of their own.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from hl_pipeline.defs.assets import candle_history, funding_history, market_context_history
from hl_pipeline.defs.assets.candle_history import asset_name
from hl_pipeline.defs.describe import said_plainly
from hl_pipeline.defs.history import DATA_VERSION, SEALED, HistoryMonth, data_version, partition_key
from hl_pipeline.defs.months import evaluations
from hl_pipeline.defs.partitions import month_span, months
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import funding, market_contexts, partitions, series
from hl_pipeline.storage.engine import Connection

#: A month that ended longer ago than this is not revised any more.
REVISABLE_MS = 40 * 24 * 60 * MINUTE_MS
LONGEST_MONTH_MS = 31 * 24 * 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class _History:
    """A partitioned asset: how to look its months up (market time is the pipeline's), and the event of one.

    Of ``interval`` no month can be whole that was over before its series begin; null where that is not known.
    """

    name: str
    months: Callable[[Pipeline, Connection, Sequence[str], Sequence[int]], Sequence[Any]]
    event: Callable[[dg.AssetKey, Any], dg.AssetMaterialization]
    interval: Interval | None = None


@dg.op(out=dg.Out(dg.Nothing), tags={"kind": "postgres"})
def report_whole_months(context: dg.OpExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Record every whole month whose content Dagster does not know yet: candles, funding, quotes."""
    with said_plainly():
        for history in _histories(pipeline):
            reported, sealed = _report(context, pipeline, history)
            context.log.info("%s: %d months reported, %d of them sealed", history.name, reported, sealed)


def _histories(pipeline: Pipeline) -> list[_History]:
    candles = [
        _History(asset_name(interval), partial(_candle_months, interval), candle_history.materialization, interval)
        for interval in pipeline.settings.intervals
    ]
    return [
        *candles,
        _History(funding_history.NAME, _funding_months, funding_history.materialization),
        _History(market_context_history.NAME, _context_months, market_context_history.materialization),
    ]


def _candle_months(
    interval: Interval, pipeline: Pipeline, connection: Connection, coins: Sequence[str], starts: Sequence[int]
) -> Sequence[HistoryMonth]:
    return partitions.states(
        connection,
        interval,
        coins=coins,
        month_starts_ms=starts,
        now_ms=pipeline.clock.now_ms(),
        settle_ms=pipeline.policy.proof.settle_ms,
    )


def _funding_months(
    pipeline: Pipeline, connection: Connection, coins: Sequence[str], starts: Sequence[int]
) -> Sequence[HistoryMonth]:
    return funding.months(connection, coins=coins, month_starts_ms=starts, now_ms=pipeline.clock.now_ms())


def _context_months(
    pipeline: Pipeline, connection: Connection, coins: Sequence[str], starts: Sequence[int]
) -> Sequence[HistoryMonth]:
    return market_contexts.months(connection, coins=coins, month_starts_ms=starts, now_ms=pipeline.clock.now_ms())


def _report(context: dg.OpExecutionContext, pipeline: Pipeline, history: _History) -> tuple[int, int]:
    key = dg.AssetKey(history.name)
    known = _known(context.instance, key)
    whole = [state for state in _states(pipeline, history, known) if state.is_whole]
    news = [state for state in whole if known.get(partition_key(state)) != data_version(state)]
    for state in news:
        context.instance.report_runless_asset_event(history.event(key, state))
    if history.interval is not None:
        # older months were judged by the run that recorded them
        since_ms = pipeline.clock.now_ms() - REVISABLE_MS - LONGEST_MONTH_MS
        recorded = {(state.coin, state.month_ms) for state in news if state.month_ms > since_ms}
        with pipeline.database.connection() as connection:
            for judged in evaluations(connection, key, history.interval, recorded, pipeline.clock.now_ms()):
                context.log_event(judged)  # type: ignore[arg-type]  # takes it as the context of an asset does
    return len(news), sum(state.is_sealed for state in news)


def _known(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The data version each partition had when it was last recorded, by partition key."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION]
    )
    return {partition: found.get(DATA_VERSION, "") for partition, found in tags.items()}


def _states(pipeline: Pipeline, history: _History, known: Mapping[str, str]) -> Sequence[HistoryMonth]:
    """The months worth a look: not all sealed yet, or young enough to be revised."""
    now_ms = pipeline.clock.now_ms()
    with pipeline.database.connection() as connection:
        tracked = series.load(connection, intervals=None if history.interval is None else [history.interval])
        coins = sorted({state.key.coin for state in tracked})
        begins = 0 if history.interval is None else min((s.expected_start_ms for s in tracked), default=now_ms)
        wanted = [
            span.start_ms
            for month in months.get_partition_keys(current_time=to_datetime(now_ms))
            if (span := month_span(month)).end_ms > begins
            and (span.end_ms > now_ms - REVISABLE_MS or not _all_sealed(coins, month, known))
        ]
        return history.months(pipeline, connection, coins, wanted)


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
