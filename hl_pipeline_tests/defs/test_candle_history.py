"""Months of candles as partitions: recorded when whole, left alone when not."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from hl_pipeline.defs.launch import RunOutcome, run_job
from hl_pipeline.defs.partitions import by_market_and_month
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.conftest import NOW
from hl_pipeline_tests.fakes import FakeExchange, series

HOURLY = dg.AssetKey("candles_1h")
DAY = Interval.D1.milliseconds


def backfill(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    first: str,
    last: str,
    run_config: Mapping[str, object] | None = None,
) -> RunOutcome:
    return run_job(
        "backfill_candles",
        partitions=(f"BTC|{first}", f"BTC|{last}"),
        pipeline=pipeline,
        instance=instance,
        run_config=run_config,
    )


def ready(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success


def failed_partitions(instance: dg.DagsterInstance) -> set[str]:
    cached = get_and_update_asset_status_cache_value(instance, HOURLY, by_market_and_month)
    assert cached is not None
    if not cached.serialized_failed_partition_subset:
        return set()
    return set(cached.deserialize_failed_partition_subsets(by_market_and_month).get_partition_keys())


def told(instance: dg.DagsterInstance, key: str) -> dict[str, object]:
    records = instance.fetch_materializations(dg.AssetRecordsFilter(HOURLY, asset_partitions=[key]), limit=1).records
    made = records[0].asset_materialization
    assert made is not None
    return {name: value.value for name, value in made.metadata.items()}


def test_whole_months_are_recorded_and_only_closed_ones_sealed(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    ready(pipeline, instance)
    outcome = backfill(pipeline, instance, "2025-12-01", "2026-01-01")
    assert outcome.success, outcome.failure
    assert instance.get_materialized_partitions(HOURLY) == {"BTC|2025-12-01", "BTC|2026-01-01"}
    closed, still_open = told(instance, "BTC|2025-12-01"), told(instance, "BTC|2026-01-01")
    assert (closed["sealed"], closed["slots due"], closed["dagster/partition_row_count"]) == (True, 744, 744)
    assert (still_open["sealed"], still_open["slots due"]) == (False, 9 * 24 + 12)
    assert closed["content hash"] != still_open["content hash"]


def test_a_month_with_a_hole_stays_unrecorded_and_fails_no_other(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    exchange.hidden.add((series("BTC", Interval.H1), NOW - NOW % DAY - 60 * DAY))
    outcome = backfill(pipeline, instance, "2025-10-01", "2025-12-01")
    assert not outcome.success
    assert "BTC|2025-11-01: 1 of 720 due slots" in (outcome.failure or "")
    assert instance.get_materialized_partitions(HOURLY) == {"BTC|2025-10-01", "BTC|2025-12-01"}
    assert failed_partitions(instance) == {"BTC|2025-11-01"}
    assert len(instance.get_materialized_partitions(dg.AssetKey("candles_1d"))) == 3


def test_the_hole_once_proven_empty_the_month_is_recorded(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    ready(pipeline, instance)
    exchange.hidden.add((series("BTC", Interval.H1), NOW - NOW % DAY - 60 * DAY))
    backfill(pipeline, instance, "2025-11-01", "2025-11-01")
    clock.advance(31 * 60_000)
    assert backfill(pipeline, instance, "2025-11-01", "2025-11-01").success
    assert told(instance, "BTC|2025-11-01")["proven empty"] == 1
    assert failed_partitions(instance) == set()


def test_a_month_with_nothing_reachable_is_not_recorded_and_fails_nothing(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    ready(pipeline, instance)
    assert backfill(pipeline, instance, "2024-03-01", "2024-03-01").success
    assert instance.get_materialized_partitions(HOURLY) == set()


def test_only_the_asked_part_of_a_month_is_fetched(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    config = {"ops": {"candles_1h": {"config": {"start": "2025-12-03T00:00:00Z", "end": "2025-12-04T00:00:00Z"}}}}
    outcome = backfill(pipeline, instance, "2025-12-01", "2025-12-01", config)
    hourly = [request for request in exchange.requests if request.series.interval is Interval.H1]
    assert len(hourly) == 1
    assert 24 <= hourly[0].slots <= 60, "the day and the neighbours that cost nothing"
    assert "BTC|2025-12-01" in (outcome.failure or "")


def test_a_start_that_is_no_instant_is_refused_before_anything_is_asked(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    limits = {"ops": {"candles_1h": {"config": {"start": "tomorrow"}}}}
    outcome = backfill(pipeline, instance, "2025-12-01", "2025-12-01", limits)
    assert "'tomorrow' is not an instant" in (outcome.failure or "")
    assert not [request for request in exchange.requests if request.series.interval is Interval.H1]
