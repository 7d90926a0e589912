"""One line a minute on how the whole pipeline stands."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import time

import dagster as dg

from hl_pipeline.defs.assets.endpoint_health import endpoint_health
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, answers, columns, instant, said_plainly, table
from hl_pipeline.examine import PATIENT_S, examine
from hl_pipeline.health.report import Report, to_json
from hl_pipeline.health.status import Status
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.vitals import StreamVitals, Vitals
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import health, stream
from hl_pipeline.storage.stats import follow_gaps

LOG_COLUMNS = {
    "logged_at": ("timestamptz", "market time of the report, UTC"),
    "status": (
        "text",
        "healthy, degraded, unhealthy: the worst of all verdicts; unknown: not all could be measured",
    ),
    "score": ("smallint", "0 to 100; good from 85, fair from 70, poor from 50, else critical"),
    "report": ("jsonb", "every verdict with its numbers"),
}


def vitals_of(pipeline: Pipeline, *, within_s: float | None = None) -> Vitals:
    """Every number the verdicts need, read in one go.

    With ``within_s`` a group of numbers that cannot be read is named in ``unmeasured`` and the rest is there, and none
    is begun later. Without, it raises what psycopg raises.
    """
    with pipeline.database.connection() as connection:
        until = None if within_s is None else time.monotonic() + within_s
        return health.gather(
            connection,
            pipeline.clock.now_ms(),
            pipeline.period_ms / 1000,
            pipeline.policy.proof.settle_ms / 1000,
            expects_stream=pipeline.settings.stream,
            meter=health.Meter(connection, until),
        )


def report_of(pipeline: Pipeline) -> Report:
    """The health report, as every other face shows it.

    Raises:
        DatabaseUnavailable: the database cannot be read, so nobody can tell.
    """
    found = examine(
        pipeline.settings,
        database=pipeline.database,
        clock=pipeline.clock,
        settle_s=pipeline.policy.proof.settle_ms / 1000,
        deadline_s=PATIENT_S,
    )
    if found.is_blind:
        raise DatabaseUnavailable(f"health cannot be read: {found.reason}")
    return found


def observed(stream: StreamVitals) -> dg.AssetObservation:
    """What the live stream says of itself, on the asset whose rows it writes between two collections."""
    numbers = {
        "frames in the last minute": stream.frames_last_minute,
        "provisional candles since it began": stream.closed,
        "reconnects": stream.reconnects,
        "waiting for the database": stream.queued,
        "dropped frames": stream.overflowed,
        "refused frames": stream.rejected,
        "memory MB": round(stream.memory_bytes / 1e6, 1),
    }
    return dg.AssetObservation(
        asset_key=live_candles.key,
        description=f"{stream.connected} of {stream.sockets} sockets of the live stream stand, {stream.series} markets",
        metadata={
            "stream": "stopped" if stream.stopped_ms is not None else stream.holder,
            "endpoint": stream.endpoint or "none",
            "newest frame": instant(stream.last_frame_ms),
            "watched without a break since": instant(stream.watching_since_ms),
            "watched until": instant(stream.watched_until_ms),
            **({} if stream.lag_ms is None else {"lag ms": round(stream.lag_ms, 1)}),
            **numbers,
            "last error": stream.last_error or "none",
        },
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
        found = report_of(pipeline)
        settle_ms, period_ms = pipeline.policy.proof.settle_ms, pipeline.period_ms
        with pipeline.database.connection() as connection:
            health.log(connection, found.now_ms, str(found.status), found.score, to_json(found))
        with pipeline.database.connection() as connection:  # the line above is kept, whatever comes of this
            gaps = follow_gaps(connection, found.now_ms, settle_ms=settle_ms, period_ms=period_ms)
            streaming = stream.state(connection)
    if streaming is not None:
        context.log_event(observed(streaming))
    return dg.MaterializeResult(
        metadata={
            **_answered(found),
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
            "gaps found": gaps.found,
            "gaps closed": gaps.closed,
            "measured in ms": found.about.get("took_ms"),
        }
    )


def _answered(found: Report) -> dict[str, str]:
    """Who is not well, and the step of the worst of them."""
    ill = sorted(
        (verdict for verdict in found.verdicts if not verdict.passed),
        key=lambda verdict: list(Status).index(verdict.status),
        reverse=True,
    )
    if not ill:
        return answers(whole=f"yes: all {len(found.verdicts)} verdicts are healthy", step="nothing")
    named = ", ".join(f"{verdict.name} ({verdict.status})" for verdict in ill)
    worst = ill[0]
    return answers(
        whole=f"no: {len(ill)} of {len(found.verdicts)} verdicts are not healthy: {named}",
        step=f"{worst.name}: {worst.sentence.rpartition('. Next: ')[2]}",
    )
