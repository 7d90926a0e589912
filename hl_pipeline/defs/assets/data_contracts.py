"""The hourly examination of what is stored: an asset of its own, so that its checks stand beside what they judged."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs.assets.latest_metrics import latest_metrics
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, answers, columns, said_plainly
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import overview

TOTALS = {
    "candles": ("bigint", "stored candles of all series, about: the planner's figure"),
    "final candles": ("bigint", "those that the ledger calls final"),
    "series": ("bigint", "series (market x interval) with a final candle"),
    "revisions": ("bigint", "values that a later answer replaced"),
}


@dg.asset(
    deps=[live_candles, latest_metrics],
    group_name=HEALTH,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    metadata={"dagster/column_schema": columns(TOTALS)},
)
def data_contracts(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Whether everything stored keeps its contract, hour by hour: the verdicts are this asset's *Checks*.

    `ledger_holds` compares the coverage ledger with the candles of the last days; `reconciles_5m` to `reconciles_1d`
    hold the venue's larger candles against their minutes; `candles_contract`, `markets_contract`,
    `contexts_contract`, `funding_contract` and `metrics_contract` are Great Expectations suites. They stand here and
    not on the tables they judge, because those are written each minute and Dagster shows a check as not evaluated once
    its asset is newer. When one fails, its result says how bad that is, until when it can be healed and what to press,
    and carries its runbook (`docs/runbooks`).
    """
    with said_plainly(), pipeline.database.connection() as connection:
        totals = overview.stored_totals(connection)
    return dg.MaterializeResult(
        metadata={
            **answers(step="open Checks: each that failed says how bad it is and what to press"),
            "candles": totals.candles,
            "final candles": totals.final,
            "series": totals.series,
            "revisions": totals.revisions,
        }
    )
