"""Months of candles as partitions: recorded when whole, left alone when not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from hl_pipeline.collect.progress import Progress
from hl_pipeline.defs.assets import candle_history
from hl_pipeline.defs.launch import RunOutcome, run_job
from hl_pipeline.defs.partitions import by_market_and_month
from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
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


def observed(instance: dg.DagsterInstance, key: str | None) -> list[dict[str, object]]:
    """Metadata of the observations of one partition, or of those of no partition, newest first."""
    records = instance.fetch_observations(dg.AssetRecordsFilter(HOURLY), limit=100).records
    made = [record.asset_observation for record in records]
    return [
        {name: value.value for name, value in found.metadata.items()}
        for found in made
        if found is not None and found.partition == key
    ]


def why_not(instance: dg.DagsterInstance, key: str) -> str:
    return str(observed(instance, key)[0]["why"])


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
    assert "source gone: the exchange keeps the newest 5,000 candles, 1h since" in why_not(instance, "BTC|2024-03-01")


def test_a_month_that_is_gone_says_so_before_anything_is_asked_and_fails_no_other(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    said: list[str] = []
    answer = exchange.candles

    def noting(request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        if request.series.interval is Interval.H1:
            said.append(why_not(instance, "BTC|2025-05-01"))
        return answer(request, lane=lane)

    exchange.candles = noting  # type: ignore[method-assign]
    outcome = backfill(pipeline, instance, "2025-05-01", "2026-01-01")
    assert outcome.success, outcome.failure
    assert "BTC|2025-05-01" not in instance.get_materialized_partitions(HOURLY)
    assert len(instance.get_materialized_partitions(HOURLY)) == 8, "June, partly gone, to January"
    assert [text[:11] for text in said] == ["source gone"]


def test_the_run_holds_its_forecast_beside_what_came(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    ready(pipeline, instance)
    assert backfill(pipeline, instance, "2025-12-01", "2026-01-01").success
    outcome = observed(instance, None)[0]
    assert outcome["requests forecast"] == outcome["requests actual"] == 1
    assert outcome["weight forecast"] == outcome["weight actual"] == 20 + 17
    assert outcome["rows forecast"] == outcome["rows actual"] == 31 * 24 + 9 * 24 + 13 + 15


def test_a_run_with_holes_shows_forecast_and_actual_too(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.interval is Interval.H1 else None
    outcome = backfill(pipeline, instance, "2025-12-01", "2025-12-01")
    assert not outcome.success
    told = observed(instance, None)[0]
    assert (told["requests forecast"], told["requests failed"], told["rows actual"]) == (1, 1, 0)
    assert why_not(instance, "BTC|2025-12-01") == "744 of 744 due slots are not settled yet"


def test_a_run_over_the_ceiling_is_refused_for_all_its_intervals_together(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    asked = len(exchange.requests)
    tight = replace(pipeline, settings=pipeline.settings.model_copy(update={"backfill_max_weight": 60}))
    outcome = backfill(tight, instance, "2025-12-01", "2026-01-01")
    assert "HL_BACKFILL_MAX_WEIGHT allows 60" in (outcome.failure or "")
    assert len(exchange.requests) == asked
    assert instance.get_materialized_partitions(HOURLY) == set()


def test_a_long_run_says_how_far_it_is(
    pipeline: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(pipeline, instance)
    monkeypatch.setattr(candle_history, "Progress", partial(Progress, every_s=0))
    run_id = backfill(pipeline, instance, "2025-12-01", "2026-01-01").run_id
    lines = [entry.user_message for entry in instance.all_logs(run_id) if entry.step_key == "candles_1h"]
    assert any("to ask: 1 requests, 37 weight, about 988 rows" in line for line in lines)
    assert any(line.startswith("1 of 1 requests, 37 of about 37 weight, 988 of about 988 rows") for line in lines)


def test_a_second_run_asks_for_nothing_it_has(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ready(pipeline, instance)
    assert backfill(pipeline, instance, "2025-12-01", "2025-12-01").success
    asked = len(exchange.requests)
    assert backfill(pipeline, instance, "2025-12-01", "2025-12-01").success
    assert len(exchange.requests) == asked


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
