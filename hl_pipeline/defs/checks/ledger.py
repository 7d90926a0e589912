"""The ledger holds: what it says of every slot is what the candle table says."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.describe import NEXT_STEP, said_plainly, table
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import series

SHOWN = 20
#: The exchange keeps 1m candles for three days and eleven hours; what is older changes by back-fills only.
JUDGED_MS = 4 * 24 * 60 * MINUTE_MS


@dg.asset_check(
    asset=data_contracts,
    name="ledger_holds",
    description="Every slot the ledger speaks of is exactly one of final, empty, lost or gap, and its final slots are "
    "the final candle rows; judged over the last four days, which is all that collection still changes (`hl verify` "
    "judges everything). When it fails: stop the schedules and run `hl verify`; somebody wrote past the pipeline.",
)
def ledger_holds(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Compare the ledger with the candles, the gaps and itself."""
    with said_plainly(), pipeline.database.connection() as connection:
        found = series.violations(connection, pipeline.clock.now_ms() - JUDGED_MS)
    metadata: dict[str, dg.MetadataValue | int | str] = {
        "contradictions": len(found),
        "sample": table([{"series": number, "rule": rule, "slots": slots} for number, rule, slots in found[:SHOWN]]),
    }
    if not found:
        sentence = "no contradiction between ledger, gaps and candles of the last four days (bound 0)"
    else:
        _, rule, slots = found[0]
        sentence = f"{len(found)} contradictions (bound 0); the first: {rule}, {slots[:120]}"
        metadata[NEXT_STEP] = "stop the schedules, run `hl verify`, and find out who wrote past the pipeline"
    return dg.AssetCheckResult(
        passed=not found, severity=dg.AssetCheckSeverity.ERROR, description=sentence, metadata=metadata
    )
