"""What is read of Dagster's own tables, against the installed Dagster that writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from hl_pipeline.defs.launch import set_automation
from hl_pipeline.model.vitals import DagsterVitals
from hl_pipeline.storage.dagster_records import dagster_records
from hl_pipeline.storage.engine import Database, looking


@pytest.fixture
def records(empty_database_url: str) -> Database:
    """A database of Dagster's own."""
    return Database(empty_database_url)


@pytest.fixture
def instance(records: Database, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster on that database; the name that we add to ours is the test's."""
    url = records.psycopg_url.replace("+psycopg", "+psycopg2")
    (tmp_path / "dagster.yaml").write_text(
        "telemetry:\n  enabled: false\nstorage:\n  postgres:\n    postgres_url:\n      env: TEST_DAGSTER_URL\n"
    )
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("TEST_DAGSTER_URL", url)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance


def read(records: Database) -> DagsterVitals | None:
    with looking(records.libpq_url, application_name="test") as connection:
        return dagster_records(connection)


def found(records: Database) -> DagsterVitals:
    vitals = read(records)
    assert vitals is not None
    return vitals


def make_run(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    made = dg.DagsterRun(job_name=job, run_id=make_new_run_id(), status=status, remote_job_origin=_origin(job))
    return instance.add_run(made)


def _origin(job: str) -> RemoteJobOrigin:
    """Where a run's job comes from; Dagster wants it of queued ones."""
    target = LoadableTargetOrigin(module_name="test")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name="test")
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)


def test_without_its_tables_dagster_has_nothing_to_tell(records: Database) -> None:
    assert read(records) is None


def test_a_new_instance_has_no_daemon_no_runs_and_everything_off(
    instance: dg.DagsterInstance, records: Database
) -> None:
    assert found(records) == DagsterVitals({}, (), (), (), 0, frozenset())


def test_heartbeats_are_as_old_as_they_are_and_say_who_is_ailing(
    instance: dg.DagsterInstance, records: Database
) -> None:
    error = SerializableErrorInfo("boom", [], "ValueError")
    for thread, age_s, errors in (("SENSOR", 100.0, [error]), ("SCHEDULER", 5.0, []), ("ASSET", 5.0, None)):
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age_s, thread, "d", errors))
    vitals = found(records)
    assert set(vitals.silent_s) == {"SENSOR", "SCHEDULER", "ASSET"}
    assert 99 <= vitals.silent_s["SENSOR"] < 160
    assert 4 <= vitals.silent_s["SCHEDULER"] < 65
    assert vitals.ailing == ("SENSOR",)


def test_runs_that_have_not_ended_are_counted_by_job_and_state(instance: dg.DagsterInstance, records: Database) -> None:
    for job, status in (
        ("collect", dg.DagsterRunStatus.QUEUED),
        ("collect", dg.DagsterRunStatus.QUEUED),
        ("health", dg.DagsterRunStatus.STARTED),
        ("health", dg.DagsterRunStatus.SUCCESS),
    ):
        make_run(instance, job, status)
    vitals = found(records)
    assert [(run.job, run.state, run.runs) for run in vitals.unfinished] == [
        ("collect", "QUEUED", 2),
        ("health", "STARTED", 1),
    ]
    assert all(-5 <= run.longest_s < 60 for run in vitals.unfinished)


def test_a_job_fails_while_its_newest_finished_run_did(instance: dg.DagsterInstance, records: Database) -> None:
    for job, status in (
        ("collect", dg.DagsterRunStatus.FAILURE),
        ("collect", dg.DagsterRunStatus.SUCCESS),
        ("collect", dg.DagsterRunStatus.QUEUED),
        ("drain_gaps", dg.DagsterRunStatus.SUCCESS),
        ("drain_gaps", dg.DagsterRunStatus.FAILURE),
        ("drain_gaps", dg.DagsterRunStatus.CANCELED),
    ):
        make_run(instance, job, status)
    vitals = found(records)
    assert (vitals.failing, vitals.failed) == (("drain_gaps",), 2)


def test_schedules_and_sensors_that_are_on_are_known_by_name(instance: dg.DagsterInstance, records: Database) -> None:
    set_automation(True, ["collect_each_minute", "deliver_alerts"], instance=instance)
    assert found(records).switched_on == {"collect_each_minute", "deliver_alerts"}
    set_automation(False, ["deliver_alerts"], instance=instance)
    assert found(records).switched_on == {"collect_each_minute"}
