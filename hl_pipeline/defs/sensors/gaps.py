"""Gaps behind the live edge are due: start a drain, one at a time."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.collect.drain import due_queue
from hl_pipeline.defs import jobs
from hl_pipeline.defs.assets.gap_queue import read_queue
from hl_pipeline.defs.sensors.freshness import UNFINISHED
from hl_pipeline.defs.tags import run_tags
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.open_gap import recoverable
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import fetches
from hl_pipeline.storage.markets import tracked

#: So many requests in a row without an answer, the last one so lately: no drain is started into an outage.
SILENT_REQUESTS = 8
SILENT_FOR_MS = 5 * MINUTE_MS


@dg.sensor(
    job=jobs.drain_gaps,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Looks every 30 s whether gaps behind the live edge are due, and starts a drain, one at a time: "
    "nearest deadline first, at most 100 requests a run. It waits while the exchange answers nobody.",
)
def drain_open_gaps(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.RunRequest | dg.SkipReason:
    """Start a drain when older gaps are due, none is under way, and the exchange answers."""
    under_way = context.instance.get_runs(dg.RunsFilter(job_name=jobs.drain_gaps.name, statuses=[*UNFINISHED]), limit=1)
    if under_way:
        run = under_way[0]
        return dg.SkipReason(f"drain {run.run_id[:8]} is still {run.status.value.lower()}: one at a time")
    now_ms = pipeline.clock.now_ms()
    due = due_queue(pipeline.database, now_ms, pipeline.policy.proof)
    if due.deadline_ms is None:
        return dg.SkipReason(
            f"nothing behind the live edge is due; open in all: {read_queue(pipeline, now_ms).story(now_ms)}"
        )
    said = f"{due.slots:,} slots in {len(due.requests):,} requests are due, {recoverable(due.deadline_ms, now_ms)}"
    with pipeline.database.connection() as connection:
        coins = tracked(connection)
        error = fetches.unanswered(connection, now_ms, count=SILENT_REQUESTS, lately_ms=SILENT_FOR_MS)
    if error is not None:
        return dg.SkipReason(
            f"{said}; but the last {SILENT_REQUESTS} requests got no answer ({error}): a tick finds out first"
        )
    context.log.info("%s: starting a drain", said)
    return dg.RunRequest(
        run_key=f"drain-{now_ms}",
        tags={
            **run_tags(coins, "gaps behind the live edge are due"),
            "hl/gap_slots": str(due.slots),
            "hl/gap_requests": str(len(due.requests)),
            "hl/nearest_deadline": recoverable(due.deadline_ms, now_ms),
        },
    )
