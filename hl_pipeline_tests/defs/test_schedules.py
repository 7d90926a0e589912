"""The minute's tick: start, or say why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest

from hl_pipeline.defs.schedules import collect_each_minute
from hl_pipeline.runtime import Pipeline

MANY_MARKETS = """
insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
select 'C' || n, 'perp', 2, true, now(), now() from generate_series(1, %(count)s) as n
"""


def tick(instance: dg.DagsterInstance, pipeline: Pipeline, at: datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, resources={"pipeline": pipeline})
    found = collect_each_minute(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun(job_name="collect", status=status, run_id=str(uuid4())))


def test_the_first_tick_starts_a_collection(stored_instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    assert isinstance(tick(stored_instance, pipeline, datetime.now(UTC)), dg.RunRequest)


@pytest.mark.parametrize(("seconds", "starts"), [(5, False), (29, False), (31, True), (60, True)])
def test_a_collection_starts_once_a_period_is_over(
    stored_instance: dg.DagsterInstance, pipeline: Pipeline, seconds: int, starts: bool
) -> None:
    run_of(stored_instance, dg.DagsterRunStatus.SUCCESS)
    found = tick(stored_instance, pipeline, datetime.now(UTC) + timedelta(seconds=seconds))
    assert isinstance(found, dg.RunRequest) is starts


@pytest.mark.parametrize(("seconds", "starts"), [(60, False), (300, False), (360, True)])
def test_the_tracked_markets_stretch_the_period(
    stored_instance: dg.DagsterInstance, pipeline: Pipeline, seconds: int, starts: bool
) -> None:
    with pipeline.database.connection() as connection:
        connection.execute(MANY_MARKETS, {"count": 230})
    assert pipeline.period_ms == 6 * 60_000
    run_of(stored_instance, dg.DagsterRunStatus.SUCCESS)
    found = tick(stored_instance, pipeline, datetime.now(UTC) + timedelta(seconds=seconds))
    assert isinstance(found, dg.RunRequest) is starts


def test_a_collection_under_way_is_not_doubled(stored_instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    run_of(stored_instance, dg.DagsterRunStatus.STARTED)
    found = tick(stored_instance, pipeline, datetime.now(UTC) + timedelta(hours=1))
    assert isinstance(found, dg.SkipReason)
    assert "still started" in (found.skip_message or "")
