"""What the command line relies on: runs here, automation on and off, an instance on Postgres."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus

from hl_pipeline.defs.launch import automation, end_lost_runs, prepare_instance, run_job, set_automation
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.engine import Database

ROOT = Path(__file__).resolve().parent.parent.parent


def running(instance: dg.DagsterInstance) -> set[str]:
    return {state.name for state in instance.all_instigator_state() if state.status is InstigatorStatus.RUNNING}


def test_an_unknown_job_names_those_there_are(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    with pytest.raises(KeyError, match="collect"):
        run_job("colect", pipeline=pipeline, instance=instance)


def test_a_run_tells_what_it_made(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    outcome = run_job("refresh_markets", pipeline=pipeline, instance=instance)
    assert outcome.success
    assert outcome.failure is None
    assert outcome.assets["markets"]["dagster/row_count"] == 2
    assert instance.get_run_by_id(outcome.run_id) is not None


def test_a_run_that_cannot_open_the_pipeline_says_why(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_HOME", str(tmp_path))
    outcome = run_job("health", instance=instance)
    assert not outcome.success
    assert "no Postgres is running in" in (outcome.failure or "")


def test_automation_is_turned_on_and_off_by_name_or_all(stored_instance: dg.DagsterInstance) -> None:
    assert set_automation(True, ["collect_each_minute"], instance=stored_instance) == ["collect_each_minute"]
    assert running(stored_instance) == {"collect_each_minute"}
    others = set(set_automation(True, instance=stored_instance))
    assert "restart_stalled_collection" in others
    assert "collect_each_minute" not in others, "it was on already"
    assert running(stored_instance) == others | {"collect_each_minute"}
    set_automation(False, instance=stored_instance)
    assert running(stored_instance) == set()


def test_what_somebody_switched_off_is_left_alone_by_who_turns_on_what_is_new(
    stored_instance: dg.DagsterInstance,
) -> None:
    set_automation(False, ["collect_each_minute", "deliver_alerts"], instance=stored_instance)
    set_automation(True, undecided_only=True, instance=stored_instance)
    found = {switch.name: switch for switch in automation(instance=stored_instance)}
    off = {name for name, switch in found.items() if not switch.running}
    assert off == {"collect_each_minute", "deliver_alerts"}
    assert set_automation(True, undecided_only=True, instance=stored_instance) == []
    assert found["collect_each_minute"] == ("collect_each_minute", "schedule", False, "* * * * *", True)
    assert found["deliver_alerts"].when == "every 30 s"


def test_on_a_new_instance_everything_is_off_and_undecided(stored_instance: dg.DagsterInstance) -> None:
    found = automation(instance=stored_instance)
    assert len(found) > 10
    assert not any(switch.running or switch.is_decided for switch in found)
    assert [switch.kind for switch in found] == sorted(switch.kind for switch in found)


def test_automation_refuses_a_name_it_does_not_know(instance: dg.DagsterInstance) -> None:
    with pytest.raises(InvalidSetting, match=r"sensor collect_each_second: choose .*collect_each_minute"):
        set_automation(True, ["collect_each_second"], instance=instance)


def test_an_instance_wants_the_driver_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="psycopg2"):
        prepare_instance(tmp_path, "postgresql://user:secret@127.0.0.1/dagster")


# The webserver and the daemon know our location through a gRPC server they start themselves; only they can say
# whether the rows we wrote are those they read.
DAEMON_VIEW = """
import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
with dg.DagsterInstance.get() as instance:
    with WorkspaceProcessContext(instance, WorkspaceFileTarget(["workspace.yaml"])) as process:
        for location in process.create_request_context().code_locations:
            for repository in location.get_repositories().values():
                for found in [*repository.get_schedules(), *repository.get_sensors()]:
                    stored = instance.get_instigator_state(found.get_remote_origin_id(), found.selector_id)
                    print('state', found.name, found.get_current_instigator_state(stored).status.value)
"""
RECORD = """
from hl_pipeline.defs.launch import set_automation
import dagster as dg
set_automation(True, ["collect_each_minute", "restart_stalled_collection"])
@dg.asset
def one(): return dg.MaterializeResult(metadata={"told": 1})
with dg.DagsterInstance.get() as instance:
    assert dg.materialize([one], instance=instance).success
    assert instance.get_latest_materialization_event(dg.AssetKey("one")) is not None
    print(type(instance.event_log_storage).__name__)
"""


def child(code: str, environ: dict[str, str]) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | environ
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_prepared_instance_records_events_on_postgres_and_the_daemon_sees_the_automation(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    url = Database(database.libpq_url, dagster_url=empty_database_url).dagster_url
    environ = prepare_instance(tmp_path / "home", url)
    assert child(RECORD, environ).strip() == "PostgresEventLogStorage"
    lines = [line.split() for line in child(DAEMON_VIEW, environ).splitlines() if line.startswith("state ")]
    seen = {name: status for _, name, status in lines}
    assert seen["collect_each_minute"] == "RUNNING"
    assert seen["restart_stalled_collection"] == "RUNNING"
    assert seen["refresh_markets_hourly"] == "STOPPED"


@pytest.mark.parametrize(
    ("status", "host", "is_lost"),
    [
        (dg.DagsterRunStatus.STARTED, "127.0.0.1", True),
        (dg.DagsterRunStatus.CANCELING, "127.0.0.1", True),
        (dg.DagsterRunStatus.NOT_STARTED, "127.0.0.1", False),
        (dg.DagsterRunStatus.SUCCESS, "127.0.0.1", False),
        (dg.DagsterRunStatus.STARTED, "elsewhere", False),
    ],
)
def test_a_run_whose_process_ended_with_its_code_server_is_marked_as_failed(
    stored_instance: dg.DagsterInstance, status: dg.DagsterRunStatus, host: str, is_lost: bool
) -> None:
    tags = {".dagster/grpc_info": f'{{"host": "{host}", "port": 1}}'}
    run = stored_instance.create_run_for_job(dg.GraphDefinition("nothing").to_job(), status=status, tags=tags)
    assert end_lost_runs(instance=stored_instance) == ([run.run_id] if is_lost else [])
    found = stored_instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is (dg.DagsterRunStatus.FAILURE if is_lost else status)
    assert end_lost_runs(instance=stored_instance) == []
