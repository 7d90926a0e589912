"""Turning schedules and sensors on and off without a webserver, in the instance's own table.

The public ways are a click in the UI, a GraphQL call to a running webserver, or
one ``dagster`` command of five seconds each. This writes the same rows; it uses
names that Dagster keeps to itself, so a test watches what the daemon makes of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import dagster as dg
from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

#: How Dagster names the one repository that a Definitions object makes.
_REPOSITORY = "__repository__"

#: Without these three the pipeline stands still, or blind.
ESSENTIAL = frozenset({"collect_each_minute", "refresh_markets_hourly", "health_each_minute"})


def share_running(instance: DagsterInstance) -> float | None:
    """The share of the essential schedules that are on; null for an instance that keeps none."""
    if instance.schedule_storage is None:
        return None
    states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    running = {state.name for state in states if state.status is InstigatorStatus.RUNNING}
    return len(running & ESSENTIAL) / len(ESSENTIAL)


def set_instigators(
    instance: DagsterInstance,
    definitions: dg.Definitions,
    location: str,
    *,
    running: bool,
    names: Collection[str] | None,
) -> list[str]:
    """Give the schedules and sensors of ``definitions`` (or those named) the state; returns their names."""
    repository = definitions.get_repository_def()
    known: dict[str, dg.ScheduleDefinition | dg.SensorDefinition] = {
        **{schedule.name: schedule for schedule in repository.schedule_defs},
        **{sensor.name: sensor for sensor in repository.sensor_defs},
    }
    chosen = sorted(known) if names is None else list(names)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise KeyError(f"no schedule or sensor {', '.join(unknown)}: there are {', '.join(sorted(known))}")
    for name in chosen:
        _write(instance, _state(known[name], location, running=running))
    return chosen


def _state(definition: dg.ScheduleDefinition | dg.SensorDefinition, location: str, *, running: bool) -> InstigatorState:
    target = LoadableTargetOrigin(module_name="hl_pipeline.definitions")
    origin = RemoteInstigatorOrigin(
        repository_origin=RemoteRepositoryOrigin(
            code_location_origin=ManagedGrpcPythonEnvCodeLocationOrigin(target, location),
            repository_name=_REPOSITORY,
        ),
        instigator_name=definition.name,
    )
    status = InstigatorStatus.RUNNING if running else InstigatorStatus.STOPPED
    if isinstance(definition, dg.ScheduleDefinition):
        schedule = ScheduleInstigatorData(definition.cron_schedule, start_timestamp=time.time() if running else None)
        return InstigatorState(origin, InstigatorType.SCHEDULE, status, schedule)
    sensor = SensorInstigatorData(
        min_interval=definition.minimum_interval_seconds,
        last_sensor_start_timestamp=time.time() if running else None,
        sensor_type=definition.sensor_type,
    )
    return InstigatorState(origin, InstigatorType.SENSOR, status, sensor)


def _write(instance: DagsterInstance, wanted: InstigatorState) -> None:
    """A stored state keeps its origin, and a sensor its cursor; only what is asked for changes."""
    stored = instance.get_instigator_state(wanted.instigator_origin_id, wanted.selector_id)
    if stored is None:
        instance.add_instigator_state(wanted)
        return
    if stored.status is wanted.status:
        return
    changed = stored.with_status(wanted.status)
    if isinstance(wanted.instigator_data, ScheduleInstigatorData):
        changed = changed.with_data(wanted.instigator_data)
    instance.update_instigator_state(changed)
