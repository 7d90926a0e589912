"""Data stops flowing, and starts again."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.sensors.freshness import Backoff, restart_stalled_collection
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.runtime import Pipeline

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
