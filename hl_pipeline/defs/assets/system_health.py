"""One line a minute on how the whole pipeline stands."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs.assets.endpoint_health import endpoint_health
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.automation import share_running
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, columns, said_plainly, table
from hl_pipeline.health.report import report, to_json
from hl_pipeline.model.vitals import Vitals
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import health

LOG_COLUMNS = {
    "logged_at": ("timestamptz", "market time of the report, UTC"),
    "status": ("text", "healthy, degraded or unhealthy: the worst of all verdicts"),
    "score": ("smallint", "0 to 100; good from 85, fair from 70, poor from 50, else critical"),
    "report": ("jsonb", "every verdict with its numbers"),
}


def vitals_of(pipeline: Pipeline) -> Vitals:
    """Every number the verdicts need, read in one go."""
    with pipeline.database.connection() as connection:
        return health.gather(
            connection,
            pipeline.clock.now_ms(),
            pipeline.period_ms / 1000,
            pipeline.policy.proof.settle_ms / 1000,
        )


@dg.asset(
    deps=[live_candles, endpoint_health],
    group_name=HEALTH,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    metadata={"dagster/column_schema": columns(LOG_COLUMNS), "dagster/table_name": "hl.system_health_log"},
)
def system_health(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """How the whole pipeline stands, as one score from 0 to 100 (`hl.system_health_log`), every minute.

    *Plots* in the metadata shows the score over time. When it falls, read *verdicts*: each says what was found, the
    bound, and what to do next; the checks on `markets` and `live_candles` say the same, one by one.
    """
    with said_plainly():
        found = report(vitals_of(pipeline), automation_on=share_running(context.instance))
        with pipeline.database.connection() as connection:
            health.log(connection, found.now_ms, str(found.status), found.score, to_json(found))
    return dg.MaterializeResult(
        metadata={
            "score": found.score,
            "band": found.band,
            "status": str(found.status),
            "verdicts": table(
                [
                    {"check": verdict.name, "status": str(verdict.status), "found": verdict.sentence}
                    for verdict in found.verdicts
                ]
            ),
            "not measured": ", ".join(found.excluded) or "nothing",
        }
    )
