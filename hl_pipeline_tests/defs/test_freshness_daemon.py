"""The stalled collection under Dagster's own sensor daemon: what it keeps when it dies, and when it looks twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorState, InstigatorType, SensorInstigatorData, TickStatus

from hl_pipeline.defs.launch import set_automation
from hl_pipeline.defs.sensors.freshness import NAME, Backoff
from hl_pipeline_tests.defs.daemons import daemon

QUEUE = {
    "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"},
    "code_servers": {"wait_for_local_processes_on_shutdown": True},
}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Runs that it is asked for stay in its queue: nobody takes them out."""
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=QUEUE) as instance:
        yield instance


def state(instance: dg.DagsterInstance) -> InstigatorState:
    (found,) = [
        state
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        if state.instigator_name == NAME
    ]
    return found


def backoff(instance: dg.DagsterInstance) -> Backoff:
    data = state(instance).instigator_data
    assert isinstance(data, SensorInstigatorData)
    return Backoff.read(data.cursor)


def forget_cursor(instance: dg.DagsterInstance) -> None:
    """As if the daemon had died after it started the run and before it kept the cursor."""
    found = state(instance)
    data = found.instigator_data
    assert isinstance(data, SensorInstigatorData)
    kept = SensorInstigatorData(
        last_tick_timestamp=data.last_tick_timestamp,
        min_interval=data.min_interval,
        sensor_type=data.sensor_type,
        last_sensor_start_timestamp=data.last_sensor_start_timestamp,
    )
    instance.update_instigator_state(found.with_data(kept))


def end_runs(instance: dg.DagsterInstance) -> None:
    """The collections that were started fail; otherwise one is under way, and no other would be."""
    for run in instance.get_runs():
        if not run.is_finished:
            instance.report_run_failed(run)


def newest_tick(instance: dg.DagsterInstance) -> tuple[TickStatus, str]:
    found = state(instance)
    (tick,) = instance.get_ticks(found.instigator_origin_id, found.selector_id, limit=1)
    return tick.status, str(tick.skip_reason or tick.error)


@pytest.mark.usefixtures("settings_of_an_empty_database")
def test_the_backoff_outlives_the_daemon_and_a_second_look_starts_no_second_run(instance: dg.DagsterInstance) -> None:
    set_automation(True, [NAME], instance=instance)
    with daemon(instance, datetime.now(UTC)) as first:
        first.look()
    assert len(instance.get_runs()) == 1, newest_tick(instance)
    (run,) = instance.get_runs()
    assert run.tags["hl/started_because"] == "data stopped flowing"
    assert backoff(instance).attempts == 1
    end_runs(instance)

    with daemon(instance, first.at) as second:
        second.look()
        assert newest_tick(instance)[0] is TickStatus.SKIPPED
        assert "1 attempts so far, the next in" in newest_tick(instance)[1]
        forget_cursor(instance)
        second.look()
    assert len(instance.get_runs()) == 1, "the run key is known, so no second run is started for the same attempt"
    assert backoff(instance).attempts == 1
