"""Ticks of schedules and sensors: how long Dagster keeps them, and that its daemons drop the older ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorState, InstigatorType, TickData, TickStatus
from dagster_shared.error import SerializableErrorInfo

from hl_pipeline.defs.launch import set_automation
from hl_pipeline_tests.defs.daemons import Daemon, daemon

#: Days, as dagster.yaml says.
KEPT = {TickStatus.SKIPPED: 1, TickStatus.SUCCESS: 7, TickStatus.FAILURE: 30, TickStatus.STARTED: 7}
BROKEN = SerializableErrorInfo("broken", [], "Broken")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("kind", InstigatorType)
def test_no_tick_of_any_kind_is_kept_for_ever(kept_in_postgres: dg.DagsterInstance, kind: InstigatorType) -> None:
    assert kept_in_postgres.get_tick_retention_settings(kind) == KEPT
    assert set(TickStatus) == KEPT.keys()


def instigator(instance: dg.DagsterInstance, name: str) -> InstigatorState:
    (found,) = [state for state in instance.all_instigator_state() if state.instigator_name == name]
    return found


def tick(instance: dg.DagsterInstance, state: InstigatorState, status: TickStatus, at: datetime) -> int:
    """A tick that ended so; returns its id."""
    made = instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=state.instigator_type,
            status=status,
            timestamp=at.timestamp(),
            run_ids=[],
            error=BROKEN if status is TickStatus.FAILURE else None,
            end_timestamp=at.timestamp(),
            selector_id=state.selector_id,
        )
    )
    return made.tick_id


@pytest.mark.usefixtures("settings_of_an_empty_database")
@pytest.mark.parametrize(
    ("name", "look"), [("health_each_minute", Daemon.keep_schedules), ("follow_freshness", Daemon.look)]
)
def test_a_look_drops_the_ticks_that_are_older_than_their_bound_and_no_other(
    kept_in_postgres: dg.DagsterInstance, name: str, look: Callable[[Daemon], None]
) -> None:
    instance, now = kept_in_postgres, datetime.now(UTC)
    set_automation(True, [name], instance=instance)
    state = instigator(instance, name)
    old = {tick(instance, state, status, now - timedelta(days=days) - HOUR) for status, days in KEPT.items()}
    young = {tick(instance, state, status, now - timedelta(days=days) + HOUR) for status, days in KEPT.items()}
    newest = tick(instance, state, TickStatus.SKIPPED, now - timedelta(minutes=2))
    with daemon(instance, now + timedelta(minutes=2)) as daemons:  # a schedule's first minute is over
        look(daemons)
    left = {found.tick_id for found in instance.get_ticks(state.instigator_origin_id, state.selector_id)}
    assert not left & old
    assert left > young | {newest}, "and there is a tick of this look"
