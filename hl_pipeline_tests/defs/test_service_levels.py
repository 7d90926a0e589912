"""Each run of candles leaves a row; the promises are held against them, and the newest runs against those before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dagster import DagsterInstance

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange

HISTORY = """
select lane, requests, failed, candles, succeeded, candles_per_second > 0, p99_ms, peak_memory_mb > 50, cpu_seconds > 0
from hl.performance_history order by started_at, run_id
"""
RUNS = """
insert into hl.performance_history (
    run_id, lane, started_at, asked_from, succeeded, seconds, requests, failed, refused, weight, candles,
    p50_ms, p99_ms, peak_memory_mb, cpu_seconds
)
select
    %(lane)s || number, %(lane)s, %(now)s::timestamptz - number * interval '1 minute', now(), true,
    %(seconds)s, 100, 0, 0, 2100, 6000, 100, %(p99_ms)s, 150, 1.5
from generate_series(%(first)s::integer, %(last)s::integer) as number
"""


def rows(pipeline: Pipeline) -> list[tuple[object, ...]]:
    with pipeline.database.connection() as connection:
        return connection.execute(HISTORY.encode()).fetchall()


def runs(pipeline: Pipeline, first: int, last: int, *, seconds: float = 10.0, p99_ms: float = 200.0) -> None:
    """So many minutes ago a run each, newest first."""
    with pipeline.database.connection() as connection:
        now = pipeline.clock.now_ms() / 1000
        at = connection.execute(b"select to_timestamp(%s)", (now,)).fetchone()
        assert at is not None
        of_runs = {"lane": "live", "now": at[0], "first": first, "last": last, "seconds": seconds, "p99_ms": p99_ms}
        connection.execute(RUNS.encode(), of_runs)


def judged(pipeline: Pipeline, instance: DagsterInstance) -> tuple[RunOutcome, dict[str, CheckOutcome]]:
    outcome = run_job("measure_service_levels", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    return outcome, {check.name.removeprefix("service_levels/"): check for check in outcome.checks}


def test_a_collection_leaves_a_row_and_shows_its_figures(pipeline: Pipeline, instance: DagsterInstance) -> None:
    outcome = run_job("collect", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    ((lane, requests, failed, candles, *rest),) = rows(pipeline)
    shown = outcome.assets["live_candles"]
    assert (lane, requests, failed) == ("live", shown["requests"], 0)
    assert candles == shown["rows received"]
    assert rest == [True, True, 1.0, True, True]
    assert shown["candles per second"] > 0
    assert shown["API latency median ms"] == shown["API latency p99 ms"] == 1.0
    assert (shown["API error rate %"], shown["answers of 429"]) == (0, 0)
    assert shown["peak memory MB"] > 50
    assert shown["CPU seconds"] > 0


def test_a_drain_and_a_back_fill_of_several_intervals_leave_a_row_each(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    run_job("refresh_markets", pipeline=pipeline, instance=instance)
    drained = run_job("drain_gaps", pipeline=pipeline, instance=instance)
    assert drained.success, drained.failure
    assert drained.assets["gap_queue"]["peak memory MB"] > 50
    months = ("BTC|2025-12-01", "BTC|2026-01-01")
    run_job("backfill_candles", pipeline=pipeline, instance=instance, partitions=months)
    assert {row[0] for row in rows(pipeline)} == {"backfill", "gap"}
    assert len(rows(pipeline)) == 2
    (filled,) = [row for row in rows(pipeline) if row[0] == "backfill"]
    events = instance.all_asset_keys()
    assert {"candles_15m", "candles_1d"} <= {key.to_user_string() for key in events}
    assert filled[4] is not None


def test_a_run_that_failed_is_a_row_too(pipeline: Pipeline, instance: DagsterInstance, exchange: FakeExchange) -> None:
    run_job("refresh_markets", pipeline=pipeline, instance=instance)
    exchange.error = lambda _: ExchangeUnavailable("down")
    assert not run_job("collect", pipeline=pipeline, instance=instance).success
    ((lane, requests, failed, candles, *_),) = rows(pipeline)
    assert (lane, failed, candles) == ("live", requests, 0)
    assert failed


def test_a_run_over_its_memory_ends_with_the_reason_and_the_next_goes_on(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    small = replace(pipeline, settings=pipeline.settings.model_copy(update={"run_memory_mb": 1}))
    ended = run_job("collect", pipeline=small, instance=instance)
    assert not ended.success
    assert "HL_RUN_MEMORY_MB" in (ended.failure or "")
    ((lane, requests, failed, candles, succeeded, *_),) = rows(pipeline)
    assert (lane, failed, succeeded) == ("live", 0, False)
    assert requests
    assert candles
    outcome = run_job("collect", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    assert outcome.assets["live_candles"]["gaps"] == 0


def test_each_promise_has_its_number_for_a_day_and_a_week(pipeline: Pipeline, instance: DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    outcome, checks = judged(pipeline, instance)
    shown = outcome.assets["service_levels"]
    assert shown["latency: 99th percentile ms, 24 h"] == 1.0
    assert shown["errors: error rate %, 7 d"] == 0
    assert shown["coverage: coverage %, 24 h"] == 100
    assert shown["coverage: error budget left %, 7 d"] == 100
    assert shown["memory: most memory of a run MB, 24 h"] > 50
    assert shown["throughput: candles a second, 24 h"] > 0
    assert len(shown["service levels"].records) == 16
    # this exchange's prices follow no market, and confidence says so
    assert "; confidence: " in checks["service_levels_met"].description
    assert shown["missed"] == checks["service_levels_met"].metadata["missed"] == 1
    assert "nothing to measure for freshness, repair" in checks["service_levels_met"].description
    assert checks["performance_has_not_regressed"].passed
    assert "too few runs" in checks["performance_has_not_regressed"].description


def test_a_promise_that_is_broken_warns_with_its_numbers(
    pipeline: Pipeline, instance: DagsterInstance, exchange: FakeExchange
) -> None:
    run_job("refresh_markets", pipeline=pipeline, instance=instance)
    exchange.error = lambda _: ExchangeUnavailable("down")
    run_job("collect", pipeline=pipeline, instance=instance)
    _, checks = judged(pipeline, instance)
    found = checks["service_levels_met"]
    assert (found.passed, found.severity) == (False, "WARN")
    assert "errors: " in found.description
    assert "error rate 100.00 %" in found.description
    assert "coverage: " in found.description
    assert found.metadata["missed"] >= 2


@pytest.mark.parametrize(("seconds", "p99_ms", "named"), [(40, 200, "candles/s"), (10, 900, "p99 latency ms")])
def test_runs_much_slower_than_those_before_warn_with_both_numbers(
    pipeline: Pipeline, instance: DagsterInstance, seconds: float, p99_ms: float, named: str
) -> None:
    runs(pipeline, 11, 40)
    runs(pipeline, 1, 10, seconds=seconds, p99_ms=p99_ms)
    _, checks = judged(pipeline, instance)
    found = checks["performance_has_not_regressed"]
    assert (found.passed, found.severity) == (False, "WARN")
    assert f"live: {named}" in found.description
    assert "before" in found.description
    assert found.metadata["regressed"] == 1
    assert found.metadata[f"live: {named}"] != found.metadata[f"live: {named} before"]


def test_runs_like_those_before_are_no_regression(pipeline: Pipeline, instance: DagsterInstance) -> None:
    runs(pipeline, 1, 40)
    _, checks = judged(pipeline, instance)
    assert checks["performance_has_not_regressed"].passed
    assert checks["performance_has_not_regressed"].metadata["compared"] == 4


def test_a_promise_that_cannot_be_measured_fails_the_step_and_passes_nothing(
    pipeline: Pipeline, instance: DagsterInstance, clock: ManualClock
) -> None:
    with pipeline.database.connection() as connection:
        connection.execute(b"alter table hl.performance_history rename to performance_gone")
    outcome = run_job("measure_service_levels", pipeline=pipeline, instance=instance)
    assert not outcome.success
    assert outcome.checks == []
