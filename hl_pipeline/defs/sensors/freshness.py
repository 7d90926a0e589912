"""Data stopped flowing: start a collection, ever more rarely, until it flows; after some attempts a person is needed.

Judged from the candles themselves. Each attempt has a run key of its own, made
of the silence it answers and its number, so that a tick that is evaluated twice
starts one run; how long to wait stands in the sensor's cursor, which outlives
the daemon.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import json
from dataclasses import asdict, dataclass

import dagster as dg

from hl_pipeline.defs import jobs
from hl_pipeline.health.runbooks import runbook_path
from hl_pipeline.model.alert import Severity
from hl_pipeline.model.interval import MINUTE_MS, to_datetime
from hl_pipeline.notify.alerts import failed_check
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alerts, coverage

FIRST_WAIT_MS = MINUTE_MS
LONGEST_WAIT_MS = 30 * MINUTE_MS
#: 1, 2, 4, 8, 16 and five times 30 minutes: for three hours the pipeline helps itself, then a person is called.
MOST_ATTEMPTS = 10
#: Beyond interval + period + settle (design: Cadence).
GRACE_MS = MINUTE_MS
NAME = "restart_stalled_collection"


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

    @property
    def is_spent(self) -> bool:
        """Whether no further attempt is made."""
        return self.attempts >= MOST_ATTEMPTS

    def written(self) -> str:
        """For the sensor's cursor."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Silence:
    """Data do not flow. ``name`` is the same for as long as no newer candle comes; ``runbook`` is the check's name."""

    name: str
    sentence: str
    runbook: str = "fresh_1m"


def silence(pipeline: Pipeline) -> Silence | None:
    """What is wrong when the newest closed candle of the finest interval is older than it may be, else null."""
    now_ms = pipeline.clock.now_ms()
    with pipeline.database.connection() as connection:
        found = coverage.by_interval(connection, now_ms, pipeline.policy.proof.settle_ms)
    if not found or found[0].newest_close_ms is None:
        return Silence(f"empty-{to_datetime(now_ms):%Y-%m-%d}", "no candle is stored yet")
    finest, closed_ms = found[0], found[0].newest_close_ms
    bound_ms = finest.interval.milliseconds + pipeline.period_ms + pipeline.policy.proof.settle_ms + GRACE_MS
    age_ms = now_ms - closed_ms
    if age_ms <= bound_ms:
        return None
    return Silence(
        str(closed_ms),
        f"the newest closed {finest.interval} candle is {age_ms // 1000} s old (closed "
        f"{to_datetime(closed_ms):%H:%M:%S} UTC); at most {bound_ms // 1000:.0f} s is fresh",
        f"fresh_{finest.interval}",
    )


@dg.sensor(
    job=jobs.collect,
    name=NAME,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Looks every 30 s whether candles still arrive, in the table itself. If not, it starts a collection, "
    "then waits 1, 2, 4 ... 30 minutes between attempts until data flows again. After ten attempts in vain it starts "
    "no more, raises an alert that a person is needed, and begins anew once data flows.",
)
def restart_stalled_collection(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Start a collection when data has stopped flowing, none is under way, and attempts are left."""
    found, backoff, now_ms = silence(pipeline), Backoff.read(context.cursor), pipeline.clock.now_ms()
    if found is None:
        _settle(pipeline, now_ms)
        return dg.SensorResult(skip_reason="data flows", cursor=Backoff().written())
    if backoff.is_spent:
        _call_a_person(pipeline, found, now_ms)
        return dg.SkipReason(
            f"{found.sentence}; {backoff.attempts} attempts were in vain: a person is needed, see "
            f"{runbook_path(found.runbook)}"
        )
    if now_ms < backoff.not_before_ms:
        wait_s = (backoff.not_before_ms - now_ms) // 1000
        return dg.SkipReason(f"{found.sentence}; {backoff.attempts} attempts so far, the next in {wait_s} s")
    unfinished = context.instance.get_runs_count(
        dg.RunsFilter(job_name=jobs.collect.name, statuses=[*UNFINISHED]),
    )
    if unfinished:
        return dg.SkipReason(f"{found.sentence}; a collection is already under way")
    attempt = backoff.attempts + 1
    context.log.warning("%s: starting a collection, attempt %d of %d", found.sentence, attempt, MOST_ATTEMPTS)
    tags = {"hl/started_because": "data stopped flowing", "hl/attempt": f"{attempt} of {MOST_ATTEMPTS}"}
    request = dg.RunRequest(run_key=f"stalled-{found.name}-{attempt}", tags=tags)
    return dg.SensorResult(run_requests=[request], cursor=backoff.answered(now_ms).written())


def _call_a_person(pipeline: Pipeline, found: Silence, now_ms: int) -> None:
    alert = failed_check(
        "live_candles",
        NAME,
        f"{found.sentence}; {MOST_ATTEMPTS} collections were started and brought nothing: no more are started",
        f"find out why ({runbook_path(found.runbook)}), then run the `collect` job; this ends when data flows",
        Severity.CRITICAL,
    )
    with pipeline.database.connection() as connection:
        alerts.raise_alert(connection, alert, now_ms)


def _settle(pipeline: Pipeline, now_ms: int) -> None:
    with pipeline.database.connection() as connection:
        alerts.resolve(connection, failed_check("live_candles", NAME, "", "").fingerprint, now_ms)


#: A run in one of these states is under way or will be.
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
