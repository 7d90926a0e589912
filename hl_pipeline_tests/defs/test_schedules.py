"""The minute's tick: start, or say why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest

from hl_pipeline.defs.schedules import collect_each_minute, why_not_now
from hl_pipeline.runtime import collect_period_ms
from hl_pipeline.settings import Settings


def tick(instance: dg.DagsterInstance, settings: Settings, at: datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, resources={"settings": settings})
    found = collect_each_minute(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun(job_name="collect", status=status, run_id=str(uuid4())))


def test_the_first_tick_starts_a_collection(stored_instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(stored_instance, Settings(), datetime.now(UTC)), dg.RunRequest)


@pytest.mark.parametrize(("seconds", "starts"), [(5, False), (29, False), (31, True), (60, True)])
def test_a_collection_starts_once_a_period_is_over(
    stored_instance: dg.DagsterInstance, seconds: int, starts: bool
) -> None:
    run_of(stored_instance, dg.DagsterRunStatus.SUCCESS)
    found = tick(stored_instance, Settings(), datetime.now(UTC) + timedelta(seconds=seconds))
    assert isinstance(found, dg.RunRequest) is starts


def test_many_markets_stretch_the_period(stored_instance: dg.DagsterInstance) -> None:
    many = Settings(markets=tuple(f"COIN{number}" for number in range(200)))
    assert collect_period_ms(many) == 60_000 * 200 * 21 // 1164
    run_of(stored_instance, dg.DagsterRunStatus.SUCCESS)
    assert why_not_now(stored_instance, "collect", datetime.now(UTC).timestamp() + 120, collect_period_ms(many) / 1000)


def test_a_collection_under_way_is_not_doubled(stored_instance: dg.DagsterInstance) -> None:
    run_of(stored_instance, dg.DagsterRunStatus.STARTED)
    found = tick(stored_instance, Settings(), datetime.now(UTC) + timedelta(hours=1))
    assert isinstance(found, dg.SkipReason)
    assert "still started" in (found.skip_message or "")
