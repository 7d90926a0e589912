"""Data stopped flowing: start a collection, again and again but ever more rarely, until it flows."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import json
from dataclasses import dataclass

import dagster as dg

from hl_pipeline.defs import jobs
from hl_pipeline.defs.tags import run_tags
from hl_pipeline.model.interval import MINUTE_MS, to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import coverage
from hl_pipeline.storage.markets import tracked

FIRST_WAIT_MS = MINUTE_MS
LONGEST_WAIT_MS = 30 * MINUTE_MS
#: Beyond interval + period + settle (design: Cadence).
GRACE_MS = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often this silence was answered, and before when it is not answered again (market time, ms UTC)."""

    attempts: int = 0
    not_before_ms: int = 0

    @classmethod
    def read(cls, cursor: str | None) -> "Backoff":
        """From the sensor's cursor."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def answered(self, now_ms: int) -> "Backoff":
        """After one more attempt: 1, 2, 4 ... 30 minutes of patience."""
        wait = min(FIRST_WAIT_MS * 2 ** min(self.attempts, 10), LONGEST_WAIT_MS)
        return Backoff(self.attempts + 1, now_ms + wait)

    def written(self) -> str:
        """For the sensor's cursor."""
        return json.dumps({"attempts": self.attempts, "not_before_ms": self.not_before_ms})


def why_stale(pipeline: Pipeline) -> str | None:
    """A sentence when the newest closed candle of the finest interval is older than it may be, else null."""
    now_ms = pipeline.clock.now_ms()
    with pipeline.database.connection() as connection:
        found = coverage.by_interval(connection, now_ms, pipeline.policy.proof.settle_ms)
    if not found or found[0].newest_close_ms is None:
        return "no candle is stored yet"
    finest = found[0]
    bound_ms = finest.interval.milliseconds + pipeline.period_ms + pipeline.policy.proof.settle_ms + GRACE_MS
    age_ms = now_ms - (finest.newest_close_ms or 0)
    if age_ms <= bound_ms:
        return None
    closed = to_datetime(finest.newest_close_ms or 0)
    return (
        f"the newest closed {finest.interval} candle is {age_ms // 1000} s old (closed {closed:%H:%M:%S} UTC); "
        f"at most {bound_ms // 1000:.0f} s is fresh"
    )


@dg.sensor(
    job=jobs.collect,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Looks every 30 s whether candles still arrive, in the table itself. If not, it starts a collection, "
    "then waits 1, 2, 4 ... 30 minutes between attempts until data flows again.",
)
def restart_stalled_collection(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Start a collection when data has stopped flowing and none is under way."""
    stale = why_stale(pipeline)
    if stale is None:
        return dg.SensorResult(skip_reason="data flows", cursor=Backoff().written())
    backoff, now_ms = Backoff.read(context.cursor), pipeline.clock.now_ms()
    if now_ms < backoff.not_before_ms:
        wait_s = (backoff.not_before_ms - now_ms) // 1000
        return dg.SkipReason(f"{stale}; {backoff.attempts} attempts so far, the next in {wait_s} s")
    unfinished = context.instance.get_runs_count(
        dg.RunsFilter(job_name=jobs.collect.name, statuses=[*UNFINISHED]),
    )
    if unfinished:
        return dg.SkipReason(f"{stale}; a collection is already under way")
    context.log.warning("%s: starting a collection, attempt %d", stale, backoff.attempts + 1)
    with pipeline.database.connection() as connection:
        coins = tracked(connection)
    request = dg.RunRequest(run_key=f"stalled-{now_ms}", tags=run_tags(coins, "data stopped flowing"))
    return dg.SensorResult(run_requests=[request], cursor=backoff.answered(now_ms).written())


#: A run in one of these states is under way or will be.
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
