"""Turning schedules and sensors on and off without a webserver, in the instance's own table.

The public ways are a click in the UI, a GraphQL call to a running webserver, or
one ``dagster`` command of five seconds each. This writes the same rows; it uses
names that Dagster keeps to itself, so a test watches what the daemon makes of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

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

from hl_pipeline.model.failure import InvalidSetting

#: How Dagster names the one repository that a Definitions object makes.
_REPOSITORY = "__repository__"


class Switch(NamedTuple):
    """A schedule or sensor and whether it is on; ``when`` is a cron line, or how often a sensor looks.

    ``is_decided``: somebody has switched it, on or off, since this instance was made.
    """

    name: str
    kind: str
    running: bool
    when: str
    is_decided: bool


def set_instigators(
    instance: DagsterInstance,
    definitions: dg.Definitions,
    location: str,
    *,
    running: bool,
    names: Collection[str] | None,
    undecided_only: bool = False,
) -> list[str]:
    """Give the schedules and sensors of ``definitions`` (or those named) the state; returns the names of those changed.

    ``undecided_only`` leaves alone what somebody has switched before.

    Raises:
        InvalidSetting: a name is none of theirs.
    """
    known = _known(definitions)
    chosen = sorted(known) if names is None else list(dict.fromkeys(names))
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise InvalidSetting(
            f"there is no schedule or sensor {', '.join(unknown)}: choose among {', '.join(sorted(known))}"
        )
    wanted = {name: _state(known[name], location, running=running) for name in chosen}
    return [name for name, state in wanted.items() if _write(instance, state, undecided_only=undecided_only)]


def switches(instance: DagsterInstance, definitions: dg.Definitions, location: str) -> list[Switch]:
    """Every schedule and sensor of ``definitions`` and how it stands, by kind and name."""
    found = []
    for name, definition in sorted(_known(definitions).items()):
        state = _state(definition, location, running=True)
        stored = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
        is_schedule = isinstance(definition, dg.ScheduleDefinition)
        running = stored is not None and stored.status is InstigatorStatus.RUNNING
        when = str(definition.cron_schedule) if isinstance(definition, dg.ScheduleDefinition) else _every(definition)
        found.append(Switch(name, "schedule" if is_schedule else "sensor", running, when, stored is not None))
    return sorted(found, key=lambda switch: switch.kind)


def _every(sensor: dg.SensorDefinition) -> str:
    return f"every {sensor.minimum_interval_seconds or 30} s"


def _known(definitions: dg.Definitions) -> dict[str, dg.ScheduleDefinition | dg.SensorDefinition]:
    repository = definitions.get_repository_def()
    return {
        **{schedule.name: schedule for schedule in repository.schedule_defs},
        **{sensor.name: sensor for sensor in repository.sensor_defs},
    }


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


def _write(instance: DagsterInstance, wanted: InstigatorState, *, undecided_only: bool) -> bool:
    """A stored state keeps its origin, and a sensor its cursor; only what is asked for changes. True if it did."""
    stored = instance.get_instigator_state(wanted.instigator_origin_id, wanted.selector_id)
    if stored is None:
        instance.add_instigator_state(wanted)
        return True
    if undecided_only or stored.status is wanted.status:
        return False
    changed = stored.with_status(wanted.status)
    if isinstance(wanted.instigator_data, ScheduleInstigatorData):
        changed = changed.with_data(wanted.instigator_data)
    instance.update_instigator_state(changed)
    return True
