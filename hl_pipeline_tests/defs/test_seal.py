"""The nightly look: the partition bars follow the ledger."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.launch import run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange, series

HOURLY = dg.AssetKey("candles_1h")


def run(pipeline: Pipeline, instance: dg.DagsterInstance, job: str) -> None:
    outcome = run_job(job, pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure


def events(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(HOURLY, limit=1000).records)


def test_months_that_the_live_edge_filled_are_reported_once(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    run(pipeline, instance, "collect")
    assert instance.get_materialized_partitions(HOURLY) == set()
    run(pipeline, instance, "seal")
    recorded = instance.get_materialized_partitions(HOURLY)
    assert {"BTC|2025-12-01", "ETH|2025-12-01", "BTC|2026-01-01"} <= recorded
    before = events(instance)
    run(pipeline, instance, "seal")
    assert events(instance) == before, "nothing changed, so nothing is reported again"


def test_a_month_with_a_hole_is_not_reported(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    hour = Interval.H1.milliseconds
    exchange.hidden.add((series("BTC", Interval.H1), clock.now_ms() // hour * hour - 20 * 24 * hour))
    run(pipeline, instance, "collect")
    run(pipeline, instance, "seal")
    assert "BTC|2025-12-01" not in instance.get_materialized_partitions(HOURLY)
    assert "ETH|2025-12-01" in instance.get_materialized_partitions(HOURLY)


def test_an_open_month_is_reported_again_when_it_grew(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run(pipeline, instance, "collect")
    run(pipeline, instance, "seal")
    before = events(instance)
    clock.advance(3 * Interval.H1.milliseconds)
    run(pipeline, instance, "collect")
    run(pipeline, instance, "seal")
    assert events(instance) == before + 2, "this month of both markets, and no older one"
