"""When each job starts, and why then. All off until ``hl up`` or a person turns them on."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs import jobs
from hl_pipeline.defs.failover_drill import failover_drill
from hl_pipeline.defs.seal import seal_months
from hl_pipeline.runtime import Pipeline

#: A tick comes up to this much before the period is over and still counts: runs start a little after their tick.
SLACK_SECONDS = 30


def why_not_now(instance: dg.DagsterInstance, job_name: str, now_s: float, period_s: float) -> str | None:
    """Why the job must not start now: it runs, waits to run, or ran less than a period ago. Null when it may."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=1)
    if not records:
        return None
    run, created_s = records[0].dagster_run, records[0].create_timestamp.timestamp()
    if not run.is_finished:
        return f"{job_name} run {run.run_id[:8]} is still {run.status.value.lower()}"
    since = now_s - created_s
    if since < period_s - SLACK_SECONDS:
        return f"{job_name} started {since:.0f} s ago; its period is {period_s:.0f} s"
    return None


@dg.schedule(
    job=jobs.collect,
    cron_schedule="* * * * *",
    description="Each minute, skipping until a period has passed since the last start: HL_PERIOD_SECONDS, or longer "
    "when the live lane's weight does not suffice to read every tracked market in it.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def collect_each_minute(
    context: dg.ScheduleEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.RunRequest | dg.SkipReason:
    """Start a collection, unless one is under way or the period is not over."""
    at_s = context.scheduled_execution_time.timestamp()
    reason = why_not_now(context.instance, jobs.collect.name, at_s, pipeline.period_ms / 1000)
    return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=f"collect-{at_s:.0f}")


refresh_markets_hourly = dg.ScheduleDefinition(
    name="refresh_markets_hourly",
    job=jobs.refresh_markets,
    cron_schedule="7 * * * *",
    description="Hourly, off the full hour when every other client asks: new listings, delistings, changed limits.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

refresh_funding_hourly = dg.ScheduleDefinition(
    name="refresh_funding_hourly",
    job=jobs.refresh_funding,
    cron_schedule="4 * * * *",
    description="Hourly, minutes after rates are paid on the full hour: most come within a second, a late one waits "
    "for the next run. Each run reads the markets whose turn it is, for a hundredth of the request weight.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

seal_nightly = dg.ScheduleDefinition(
    name="seal_nightly",
    job=seal_months,
    cron_schedule="25 0 * * *",
    execution_timezone="UTC",
    description="At 00:25 UTC, when the last slots of the day (and month) before are settled.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

health_each_minute = dg.ScheduleDefinition(
    name="health_each_minute",
    job=jobs.health,
    cron_schedule="* * * * *",
    description="Each minute, so that trouble is known within two: one reading of the database, one probe an endpoint.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

contracts_hourly = dg.ScheduleDefinition(
    name="contracts_hourly",
    job=jobs.contracts,
    cron_schedule="37 * * * *",
    description="Hourly: these read whole tables and import Great Expectations, too dear for every minute.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

service_levels_hourly = dg.ScheduleDefinition(
    name="service_levels_hourly",
    job=jobs.measure_service_levels,
    cron_schedule="47 * * * *",
    description="Hourly: error budgets are of days, and a regression shows in ten runs.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

retention_nightly = dg.ScheduleDefinition(
    name="retention_nightly",
    job=jobs.apply_retention,
    cron_schedule="40 3 * * *",
    execution_timezone="UTC",
    description="At 03:40 UTC, after the nightly seal: bounds are of months, so a day sooner or later is no matter.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

failover_drill_weekly = dg.ScheduleDefinition(
    name="failover_drill_weekly",
    job=failover_drill,
    cron_schedule="20 5 * * 0",
    execution_timezone="UTC",
    description="Sundays at 05:20 UTC, when little is traded: a way around that nobody takes is not known to be open.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
