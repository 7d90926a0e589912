"""The ledger holds: what it says of every slot is what the candle table says."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.checks.outcome import RUNBOOK, judging, outcome
from hl_pipeline.defs.describe import table
from hl_pipeline.health.runbooks import runbook_path
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import series

NAME = "ledger_holds"
SHOWN = 10
#: The exchange keeps 1m candles for three days and eleven hours; what is older changes by back-fills only.
JUDGED_MS = 4 * 24 * 60 * MINUTE_MS


@dg.asset_check(
    asset=data_contracts,
    name=NAME,
    description="Every slot the ledger speaks of is exactly one of final, empty, lost or gap, and its final slots are "
    "the final candle rows; judged over the last four days, which is all that collection still changes (`hl verify` "
    "judges everything). When it fails: stop the schedules and run `hl verify`; somebody wrote past the pipeline.",
    metadata={RUNBOOK: dg.MetadataValue.path(runbook_path(NAME))},
)
def ledger_holds(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Compare the ledger with the candles, the gaps and itself."""
    with judging(NAME), pipeline.database.connection() as connection:
        found = series.violations(connection, pipeline.clock.now_ms() - JUDGED_MS)
    told = "no contradiction between ledger, gaps and candles of the last four days (bound 0)"
    if found:
        _, rule, slots = found[0]
        told = f"{len(found)} contradictions (bound 0); the first: {rule}, {slots[:120]}"
    return outcome(
        dg.AssetCheckKey(data_contracts.key, NAME),
        passed=not found,
        found=told,
        metadata={
            "contradictions": len(found),
            "sample": table(
                [{"series": number, "rule": rule, "slots": slots} for number, rule, slots in found[:SHOWN]]
            ),
        },
    )
