"""A run failed, or a check changed: an alert row, and a line in the log. Resolved by the next success.

Dagster has no sensor for checks, and a failed check leaves its run successful;
so both the successful and the failed runs are read for what their checks said.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import logging
import re

import dagster as dg
from dagster import AssetCheckEvaluation, DagsterEventType

from hl_pipeline.defs.describe import NEXT_STEP
from hl_pipeline.model.alert import Alert, Severity
from hl_pipeline.notify.alerts import failed_check, failed_run
from hl_pipeline.notify.error_reports import Told
from hl_pipeline.runtime import Pipeline, open_error_reports
from hl_pipeline.storage import alerts

LOOK_SECONDS = 30
#: Goes to the code server's standard error, whatever becomes of Dagster's own logs.
LOG = logging.getLogger("hl_pipeline.alerts")
#: A line of a traceback, as Python prints it.
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


@dg.run_failure_sensor(
    name="alert_on_failed_runs",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    monitor_all_code_locations=True,
    description="Writes an alert when a run fails, one for all failures of a job until it succeeds again. Also reads "
    "what the checks of the failed run said.",
)
def alert_on_failed_runs(context: dg.RunFailureSensorContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Report the failure, raise the job's alert, and follow its checks.

    Here and not in the run's process, because a process that was killed, or never began, reports nothing. The sensor
    meets each failed run once, whatever becomes of the rest.
    """
    run = context.dagster_run
    _report(context, pipeline)
    alert = failed_run(run.job_name, run.run_id, first_error(context))
    _raise(pipeline, alert)
    if _is_overcome(context.instance, run):
        _resolve(pipeline, alert)
    _follow_checks(context, pipeline)


@dg.run_status_sensor(
    name="follow_successful_runs",
    run_status=dg.DagsterRunStatus.SUCCESS,
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    monitor_all_code_locations=True,
    description="Reads what the checks of a finished run said: an alert when one fails, resolved when it passes again. "
    "A success also resolves its job's failure alert.",
)
def follow_successful_runs(context: dg.RunStatusSensorContext, pipeline: dg.ResourceParam[Pipeline]) -> None:
    """Resolve the job's alert, and follow its checks."""
    run = context.dagster_run
    _resolve(pipeline, failed_run(run.job_name, run.run_id, ""))
    _follow_checks(context, pipeline)


def first_error(context: dg.RunFailureSensorContext) -> str:
    """What the first failed step said of itself, or what the run's end said."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return f"{event.step_key}: {data.user_failure_data.description}"
        if data.error:
            cause = data.error.cause or data.error
            return f"{event.step_key}: {cause.message.strip()}"
    return context.failure_event.message or "it ended without saying why"


def alert_of(check: AssetCheckEvaluation) -> Alert:
    """The alert that a failed check raises and a passed one resolves."""
    step = check.metadata.get(NEXT_STEP)
    found, _, _ = (check.description or "did not hold").partition(". Next: ")  # the step has a place of its own
    return failed_check(
        check.asset_key.to_user_string(),
        check.check_name,
        found,
        str(step.value) if step else "open the check in the UI; its description says what to do",
        Severity.ERROR if check.severity is dg.AssetCheckSeverity.ERROR else Severity.WARNING,
        check.partition,
    )


def told_of(context: dg.RunFailureSensorContext) -> list[Told]:
    """The first failed step's exception and what it came from, outermost first; or what the run's end said."""
    for event in context.get_step_failure_events():
        chain, error = [], event.step_failure_data.error
        while error is not None:
            frames = [(found[1], int(found[2]), found[3]) for line in error.stack if (found := _FRAME.search(line))]
            name = error.cls_name or "Exception"
            text = error.message.strip().rpartition(f"{name}: ")[2]
            chain.append(Told(name, text, frames, on_purpose=name == dg.Failure.__name__))
            error = error.cause
        if chain:
            return chain
    return [Told("RunFailure", context.failure_event.message or "it ended without saying why")]


def _report(context: dg.RunFailureSensorContext, pipeline: Pipeline) -> None:
    reports, run = open_error_reports(pipeline.settings), context.dagster_run
    if reports is not None:
        tags = {"run": run.run_id, "lane": run.tags.get("hl/lane", "none")}
        reports.report_told(told_of(context), where=run.job_name, number=run.run_id, tags=tags)


def _is_overcome(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether its job succeeded since: the sensor of successes may have been here before, and will not come again."""
    failed = instance.get_run_record_by_id(run.run_id)
    succeeded = instance.get_run_records(
        dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1, order_by="end_time"
    )
    ends = [record.end_time if record else None for record in (failed, *succeeded)]
    return len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[1] > ends[0]


def _follow_checks(context: dg.RunStatusSensorContext, pipeline: Pipeline) -> None:
    records = context.instance.get_records_for_run(
        context.dagster_run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        check = event.asset_check_evaluation_data
        if check.passed:
            _resolve(pipeline, alert_of(check))
        else:
            _raise(pipeline, alert_of(check))


def _raise(pipeline: Pipeline, alert: Alert) -> None:
    with pipeline.database.connection() as connection:
        number, is_new = alerts.raise_alert(connection, alert, pipeline.clock.now_ms())
    if is_new:
        LOG.error("alert %d, %s: %s. Next: %s", number, alert.severity, alert.summary, alert.next_step)


def _resolve(pipeline: Pipeline, alert: Alert) -> None:
    with pipeline.database.connection() as connection:
        was_open = alerts.resolve(connection, alert.fingerprint, pipeline.clock.now_ms())
    if was_open:
        LOG.warning("resolved: %s %s", alert.rule, dict(alert.labels))
