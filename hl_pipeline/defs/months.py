"""Judges recorded months of the candle history: one evaluation a partition.

Dagster gives a run over a range of partitions one result a check, or skips the
check when its asset's step ends without an output, as ours do. So the
evaluations are written as events, each with its partition.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Collection, Iterator

import dagster as dg

from hl_pipeline.defs.checks.outcome import outcome
from hl_pipeline.defs.describe import table
from hl_pipeline.defs.history import partition_key
from hl_pipeline.health.months import NAME, on_month
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.month_contract import MonthContract
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.month_contract import month_contracts

#: A market and the first instant of a month, ms UTC.
Place = tuple[str, int]


def evaluations(
    connection: Connection, asset: dg.AssetKey, interval: Interval, places: Collection[Place], now_ms: int
) -> Iterator[dg.AssetCheckEvaluation]:
    """The verdict on each of these months, as an event of the check `month_keeps_contract` of ``asset``."""
    found = month_contracts(
        connection,
        interval,
        coins=sorted({coin for coin, _ in places}),
        month_starts_ms=sorted({month_ms for _, month_ms in places}),
        now_ms=now_ms,
    )
    for month in found:
        if (month.coin, month.month_ms) in places:
            yield _evaluation(asset, month)


def _evaluation(asset: dg.AssetKey, month: MonthContract) -> dg.AssetCheckEvaluation:
    verdict = on_month(month)
    sample = [{"open time (UTC)": f"{to_datetime(at):%Y-%m-%d %H:%M:%S}"} for at in month.sample]
    told = outcome(
        dg.AssetCheckKey(asset, NAME),
        passed=verdict.passed,
        found=verdict.sentence,
        metadata={**verdict.numbers, **({"failing rows": table(sample)} if sample else {})},
    )
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=NAME,
        passed=told.passed,
        severity=told.severity,
        description=told.description,
        metadata=told.metadata,
        partition=str(partition_key(month)),
    )
