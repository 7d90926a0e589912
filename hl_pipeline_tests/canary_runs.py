"""Dagster's part of the canary sweep, as a process of its own: ``python -m hl_pipeline_tests.canary_runs JOB…``.

Runs each job on the instance of DAGSTER_HOME, or a check that raises (``check``), and lets the sensor see what failed,
as the daemon would. One line of JSON: which runs succeeded.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import json
import os
import sys

import dagster as dg

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.sensors.failures import alert_on_failed_runs
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings


@dg.asset
def thing() -> None:
    """Stands for any asset."""


@dg.asset_check(asset=thing)
def raises(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    said = os.environ["HL_TEST_SAID"]
    context.log.error("about to raise: %s", said)
    raise ValueError(f"the check saw {said}")


def failed_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """What the daemon does with a failed run."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    (record,) = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    with open_pipeline(Settings.load()) as pipeline:
        context = dg.build_run_status_sensor_context(
            sensor_name="alert_on_failed_runs",
            dagster_instance=instance,
            dagster_run=run,
            dagster_event=event,
            resources={"pipeline": pipeline},
        ).for_run_failure()
        alert_on_failed_runs(context)


def main(names: list[str]) -> None:
    outcomes = {}
    with dg.DagsterInstance.get() as instance:
        for name in names:
            if name == "check":
                result = dg.materialize([thing, raises], instance=instance, raise_on_error=False)
                outcomes[name], run_id = result.success, result.run_id
            else:
                done = run_job(name, instance=instance)
                outcomes[name], run_id = done.success, done.run_id
            if not outcomes[name]:
                failed_run(instance, run_id)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1:])
