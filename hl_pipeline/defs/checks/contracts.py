"""Great Expectations over what readers use: the recent candles and the latest metrics.

The suites stand in ``health/expectations.py``; they and pandas are imported
only when a check runs, in the hourly ``contracts`` job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, LiteralString

import dagster as dg

from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.describe import NEXT_STEP, said_plainly, table
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.sql import query

if TYPE_CHECKING:
    import pandas as pd

    from hl_pipeline.health.expectations import Expected

STEP = "read the samples, then the fetches these rows came from (fetch_id in hl.candle), and fetch their span again"


@dg.asset_check(
    asset=data_contracts,
    name="candles_contract",
    description="A Great Expectations suite over the candles of the last day (at least 60 of each series): known "
    "interval, on the grid, one row a slot, positive ordered prices, volume only with trades, no jump by half. When "
    "it fails: the table below names the rule and shows the values.",
)
def candles_contract(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Judge the recent candles."""
    from hl_pipeline.health.expectations import candles_keep_their_contract

    now = to_datetime(pipeline.clock.now_ms())
    return _judge(pipeline, query("candles_for_contract"), {"now": now}, candles_keep_their_contract)


@dg.asset_check(
    asset=data_contracts,
    name="metrics_contract",
    description="A Great Expectations suite over the latest metrics: one row a market and metric, a value in each, "
    "only funding and change may be negative, confidence between 0 and 1. When it fails: refresh the view with the "
    "`recalculate_confidence` job; if it stays, the table below names the rule and shows the values.",
)
def metrics_contract(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Judge the latest metrics."""
    from hl_pipeline.health.expectations import metrics_keep_their_contract

    return _judge(pipeline, query("metrics_for_contract"), {}, metrics_keep_their_contract)


def _judge(
    pipeline: Pipeline,
    question: LiteralString,
    parameters: Mapping[str, Any],
    suite: Callable[[pd.DataFrame], list[Expected]],
) -> dg.AssetCheckResult:
    with said_plainly():
        frame = _read(pipeline, question, parameters)
        if frame.empty:
            raise dg.Failure("there is no row to judge yet: run the `collect` job first; nothing is not a pass")
        outcomes = suite(frame)
    broken = [outcome for outcome in outcomes if not outcome.passed]
    is_grave = any(outcome.severity == "error" for outcome in broken)
    sentence = "; ".join(outcome.sentence.partition(". Next: ")[0] for outcome in broken)
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN,
        description=sentence or f"{len(frame):,} rows keep all {len(outcomes)} rules",
        metadata={
            "rows judged": len(frame),
            "rules": table([_line(outcome) for outcome in outcomes]),
            **({NEXT_STEP: STEP} if broken else {}),
        },
    )


def _line(outcome: Expected) -> dict[str, str | int]:
    return {
        "rule": outcome.name.replace("_", " "),
        "holds": "yes" if outcome.passed else "no",
        "rows against it": outcome.unexpected_count,
        "sample": ", ".join(outcome.sample) or "-",
        "severity": outcome.severity,
    }


def _read(pipeline: Pipeline, question: LiteralString, parameters: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    engine = pipeline.database.engine()
    try:
        with engine.connect() as connection:
            return pd.read_sql_query(question, connection, params=dict(parameters))
    finally:
        engine.dispose()
