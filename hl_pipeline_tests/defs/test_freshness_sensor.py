"""Data stops flowing, and starts again."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.sensors.freshness import MOST_ATTEMPTS, Backoff, restart_stalled_collection
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alerts

MINUTE = 60_000


def look(
    pipeline: Pipeline, instance: dg.DagsterInstance, cursor: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"pipeline": pipeline})
    found = restart_stalled_collection(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_fresh_data_starts_nothing(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    found = look(pipeline, instance)
    assert isinstance(found, dg.SensorResult)
    assert not found.run_requests


@pytest.mark.parametrize(("minutes", "stale"), [(16, False), (19, True)])
def test_the_bound_is_interval_period_settle_and_a_minute(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, minutes: int, stale: bool
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    clock.advance(minutes * MINUTE)  # the finest series has 15 minutes; its newest candle closed 20 s before
    found = look(pipeline, instance)
    assert isinstance(found, dg.SensorResult)
    assert bool(found.run_requests) is stale


def test_an_empty_database_starts_a_collection(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    found = look(pipeline, instance)
    assert isinstance(found, dg.SensorResult)
    assert found.run_requests
    assert found.cursor


def test_it_waits_longer_after_each_attempt_and_forgets_once_data_flows(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    first = look(pipeline, instance)
    assert isinstance(first, dg.SensorResult)
    assert isinstance(look(pipeline, instance, first.cursor), dg.SkipReason)
    clock.advance(MINUTE)
    second = look(pipeline, instance, first.cursor)
    assert isinstance(second, dg.SensorResult)
    assert Backoff.read(second.cursor) == Backoff(2, clock.now_ms() + 2 * MINUTE)
    run_job("collect", pipeline=pipeline, instance=instance)
    flowing = look(pipeline, instance, second.cursor)
    assert isinstance(flowing, dg.SensorResult)
    assert Backoff.read(flowing.cursor) == Backoff()


def test_patience_ends_at_half_an_hour() -> None:
    assert Backoff(attempts=40).answered(0).not_before_ms == 30 * MINUTE


def requested(found: dg.SensorResult | dg.SkipReason) -> str:
    """The run key of the one run that was asked for."""
    assert isinstance(found, dg.SensorResult)
    (request,) = found.run_requests or []
    assert request.run_key
    return request.run_key


def test_a_tick_that_is_evaluated_twice_asks_for_the_same_run(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    clock.advance(30 * MINUTE)
    first = look(pipeline, instance)
    clock.advance(1_500)  # the daemon died before it kept the cursor, and looks again
    assert requested(look(pipeline, instance)) == requested(first)


def test_every_attempt_and_every_silence_has_a_key_of_its_own(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    keys = []
    for _ in range(2):
        clock.advance(30 * MINUTE)
        first = look(pipeline, instance)
        assert isinstance(first, dg.SensorResult)
        clock.advance(MINUTE)
        keys += [requested(first), requested(look(pipeline, instance, first.cursor))]
        run_job("collect", pipeline=pipeline, instance=instance)
    assert len(set(keys)) == 4


def test_after_ten_attempts_in_vain_a_person_is_called_and_it_begins_anew_when_data_flow(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    started_ms, cursor, asked = clock.now_ms(), None, 0
    while not Backoff.read(cursor).is_spent:
        found = look(pipeline, instance, cursor)
        if isinstance(found, dg.SensorResult):
            asked, cursor = asked + 1, found.cursor
        clock.advance(MINUTE // 2)
    assert asked == MOST_ATTEMPTS == 10
    assert 2 < (clock.now_ms() - started_ms) / (60 * MINUTE) < 3, "hours in which it helped itself"
    for _ in range(3):
        clock.advance(60 * MINUTE)
        spent = look(pipeline, instance, cursor)
        assert isinstance(spent, dg.SkipReason)
        assert "a person is needed, see docs/runbooks/fresh_" in str(spent.skip_message)
        with pipeline.database.connection() as connection:
            assert alerts.count_open(connection, "check_failed") == 1
    run_job("collect", pipeline=pipeline, instance=instance)
    flowing = look(pipeline, instance, cursor)
    assert isinstance(flowing, dg.SensorResult)
    assert Backoff.read(flowing.cursor) == Backoff()
    with pipeline.database.connection() as connection:
        assert alerts.count_open(connection, "check_failed") == 0
    clock.advance(60 * MINUTE)
    assert requested(look(pipeline, instance, flowing.cursor)).endswith("-1")


def test_a_cursor_of_an_earlier_release_is_understood() -> None:
    assert Backoff.read('{"attempts": 3, "not_before_ms": 7}') == Backoff(3, 7)
