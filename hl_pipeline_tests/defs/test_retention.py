"""The nightly retention: what it drops, what it says, and that nothing of a dropped run is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import create_engine, text

from hl_pipeline.defs import run_records
from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.defs.run_records import LIVE_JOBS, before_ms, drop_runs, due_runs
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.retention import DAY_MS
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import series
from hl_pipeline_tests.exports import FEBRUARY, LATER_MS, count, filled
from hl_pipeline_tests.stored_world import series_id

LOG = "insert into hl.system_health_log (logged_at, status, score, report) values (%s, 'healthy', 100, '{}')"
EVENTS = """
select 'event' as what, run_id from event_logs where run_id <> ''
union select 'check', run_id from asset_check_executions
union select 'tag', run_id from run_tags
union select 'run', run_id from runs
"""


@pytest.fixture
def old_pipeline(pipeline: Pipeline, clock: ManualClock, tmp_path: Path) -> Pipeline:
    """Thirty days of candles and quotes, 230 days old; hours have a bound."""
    filled(pipeline.database, ["BTC"])
    clock.advance(LATER_MS - clock.now_ms())
    settings = pipeline.settings.model_copy(
        update={"retention_candles": ("1h=180d",), "export_folder": tmp_path / "export"}
    )
    return replace(pipeline, settings=settings)


def test_the_job_drops_what_is_due_and_its_check_finds_nothing_left(
    old_pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    with old_pipeline.database.connection() as connection:
        for days in (170, 190):
            connection.execute(LOG, (to_datetime(LATER_MS - days * DAY_MS),))
    outcome = run_job("apply_retention", pipeline=old_pipeline, instance=instance)
    assert outcome.success, outcome.failure
    (check,) = outcome.checks
    assert (check.passed, check.description) == (True, "nothing due is left")
    told = outcome.assets["retention"]
    assert told["rows dropped"] > 28 * 24
    assert {record["what"] for record in _records(told["dropped"])} >= {"candles 1h", "quotes", "health log"}
    with old_pipeline.database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 0
        assert count(connection, Interval.H4, FEBRUARY) == 28 * 6
        assert connection.execute(b"select count(*) from hl.system_health_log").fetchone() == (1,)
        assert series.violations(connection) == []


def test_a_dry_run_says_the_same_and_changes_nothing_and_the_check_notices(
    old_pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    run_config = {"ops": {"retention": {"config": {"dry_run": True}}}}
    job = build(pipeline=old_pipeline).get_repository_def().get_job("apply_retention")
    result = job.execute_in_process(run_config=run_config, instance=instance)
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "672 rows of candles 1h 2026-02" in (evaluation.description or "")
    with old_pipeline.database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24


def test_a_month_that_had_to_stay_is_named(old_pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    with old_pipeline.database.connection() as connection:
        connection.execute(
            "insert into hl.lease (series_id, month, lane, holder, held_until)"
            " values (%s, '2026-02-01', 'backfill', 'run', clock_timestamp() + interval '1 hour')",
            (series_id(connection, "BTC", Interval.H1),),
        )
    outcome = run_job("apply_retention", pipeline=old_pipeline, instance=instance)
    assert outcome.success
    (kept,) = _records(outcome.assets["retention"]["kept"])
    assert "2026-02: somebody works on it" in kept["month"]
    (check,) = outcome.checks
    assert not check.passed


def test_nothing_of_a_dropped_run_is_left_and_the_newest_of_each_job_stay(
    pipeline: Pipeline, kept_in_postgres: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "KEPT_RUNS", 2)
    instance = kept_in_postgres
    ids = [run_job("refresh_markets", pipeline=pipeline, instance=instance).run_id for _ in range(3)]
    ids += [run_job("contracts", pipeline=pipeline, instance=instance).run_id for _ in range(3)]
    assert due_runs(instance, before_ms(DAY_MS)).run_ids == [], "none is a day old"

    due = due_runs(instance, before_ms(0))
    assert sorted(due.run_ids) == sorted([ids[0], ids[3]])
    assert due.oldest_ms is not None
    assert drop_runs(instance, due.run_ids) == 2
    assert due_runs(instance, before_ms(0)).run_ids == []
    engine = create_engine(instance.event_log_storage.postgres_url)  # type: ignore[attr-defined]
    with engine.connect() as connection:
        left = {run_id for _, run_id in connection.execute(text(EVENTS))}
        tags = connection.execute(
            text("select count(*) from asset_event_tags where event_id not in (select id from event_logs)")
        ).scalar()
    engine.dispose()
    assert left == set(ids) - {ids[0], ids[3]}
    assert tags == 0
    assert instance.get_latest_materialization_event(dg.AssetKey("markets")) is not None


def test_a_run_that_was_half_deleted_is_found_again(
    pipeline: Pipeline, stored_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "KEPT_RUNS", 1)
    for _ in range(2):
        run_job("refresh_markets", pipeline=pipeline, instance=stored_instance)
    due = due_runs(stored_instance, before_ms(0)).run_ids

    def killed(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stored_instance, "delete_run", killed)
        with pytest.raises(KeyboardInterrupt):
            drop_runs(stored_instance, due)
    assert stored_instance.all_logs(due[0]) == [], "its events are gone"
    assert due_runs(stored_instance, before_ms(0)).run_ids == due
    assert drop_runs(stored_instance, due) == 1


def test_runs_of_partitions_and_of_other_jobs_are_left_alone(
    pipeline: Pipeline, stored_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "KEPT_RUNS", 1)
    sealed = [run_job("seal", pipeline=pipeline, instance=stored_instance).run_id for _ in range(2)]
    ids = [run_job("refresh_markets", pipeline=pipeline, instance=stored_instance).run_id for _ in range(3)]
    stored_instance.add_run_tags(ids[0], {"dagster/backfill": "abcdef"})
    due = due_runs(stored_instance, before_ms(0)).run_ids
    assert due == [ids[0], ids[1]]
    assert drop_runs(stored_instance, [*due, *sealed[:0]]) == 1
    assert stored_instance.get_run_by_id(ids[0]) is not None
    assert all(stored_instance.get_run_by_id(run_id) is not None for run_id in sealed)


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_run_that_is_not_over_is_left_alone_however_old_it_is(
    pipeline: Pipeline,
    stored_instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    status: dg.DagsterRunStatus,
) -> None:
    monkeypatch.setattr(run_records, "KEPT_RUNS", 1)
    going = create_run_for_test(stored_instance, job_name="collect", status=dg.DagsterRunStatus(status))
    over = create_run_for_test(stored_instance, job_name="collect", status=dg.DagsterRunStatus.SUCCESS)
    create_run_for_test(stored_instance, job_name="collect", status=dg.DagsterRunStatus.SUCCESS)
    assert due_runs(stored_instance, before_ms(0)).run_ids == [over.run_id]
    assert drop_runs(stored_instance, [going.run_id, over.run_id]) == 1
    assert stored_instance.get_run_by_id(going.run_id) is not None


def test_every_job_that_is_started_by_itself_is_a_live_one_but_what_reports_partitions_and_the_weekly_drill() -> None:
    repository = build().get_repository_def()
    started = {schedule.job_name for schedule in repository.schedule_defs}
    started |= {job for sensor in repository.sensor_defs for job in (target.job_name for target in sensor.targets)}
    assert started - set(LIVE_JOBS) == {"seal", "failover_drill"}


def test_the_live_jobs_exist_and_touch_no_partition() -> None:
    repository = build().get_repository_def()
    partitioned = {
        key for key in repository.asset_graph.get_all_asset_keys() if repository.asset_graph.get(key).is_partitioned
    }
    assert partitioned
    for name in LIVE_JOBS:
        chosen = repository.get_job(name).asset_layer.selected_asset_keys
        assert chosen, name
        assert not chosen & partitioned, name


def _records(table: dg.TableMetadataValue) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]
