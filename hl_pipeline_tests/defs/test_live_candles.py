"""The tick at the live edge, run as a job."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.derived.plots import SHOWN_AT_ONCE
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange, market


def collect(pipeline: Pipeline, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build(pipeline=pipeline).resolve_job_def("collect")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    found = result.asset_materializations_for_node(asset)
    (event,) = [event for event in found if event.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.metadata.items()}


def test_a_tick_on_an_empty_database_learns_the_markets_and_fills_them(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    result = collect(pipeline, instance)
    assert result.success
    told = metadata(result, "live_candles")
    assert told["settle time"] == "10 s: none of 0 closed rows changed after their first read"
    assert told["coverage %"] == 100.0
    assert told["requests"] == 6
    assert instance.get_dynamic_partitions("market") == ["BTC", "ETH"]
    assert instance.get_latest_materialization_event(dg.AssetKey("markets")) is not None


def test_scores_and_metrics_follow_in_the_same_run(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    result = collect(pipeline, instance)
    assert metadata(result, "confidence_scores")["dagster/row_count"] == 6
    told = metadata(result, "latest_metrics")
    assert isinstance(told["dagster/row_count"], int)
    assert told["dagster/row_count"] > 2


def test_a_second_tick_at_the_same_instant_asks_nothing(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    collect(pipeline, instance)
    assert metadata(collect(pipeline, instance), "live_candles")["requests"] == 0


def test_one_failing_series_is_told_and_does_not_fail_the_tick(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.coin == "ETH" else None
    result = collect(pipeline, instance)
    assert result.success
    assert "ETH 15m: down" in str(metadata(result, "live_candles")["failures"])


def test_a_tick_of_which_nothing_came_fails(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    exchange.error = lambda _: ExchangeUnavailable("down")
    assert not collect(pipeline, instance).success


def test_the_tick_says_how_many_slots_are_missing_and_how_long_they_can_be_had(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    told = metadata(collect(pipeline, instance), "live_candles")
    assert (told["gaps"], told["nearest deadline"]) == (0, "no gap is open")
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.coin == "ETH" else None
    clock.advance(4 * 3_600_000)
    told = metadata(collect(pipeline, instance), "live_candles")
    assert isinstance(told["gaps"], int)
    assert told["gaps"] > 0
    assert str(told["nearest deadline"]).startswith("recoverable for ")


def test_the_page_says_first_whether_it_is_fresh_and_whole_and_what_to_do(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    told = metadata(collect(pipeline, instance), "live_candles")
    assert list(told)[:3] == ["fresh?", "whole?", "next step"]
    assert str(told["fresh?"]).startswith("yes: the newest closed 15m candle is ")
    assert str(told["whole?"]).startswith("yes: ")
    assert told["next step"] == "nothing"
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.coin == "ETH" else None
    clock.advance(4 * 3_600_000)
    told = metadata(collect(pipeline, instance), "live_candles")
    assert str(told["whole?"]).startswith("no: ")
    assert "drain_gaps" in str(told["next step"])


def test_the_page_shows_pictures_that_the_interface_shows_at_once(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    result = collect(pipeline, instance)
    shown = {**metadata(result, "live_candles"), **metadata(result, "confidence_scores")}
    pictures = {name: text for name, text in shown.items() if str(text).startswith("![")}
    assert {name.split(",")[0].split(":")[0] for name in pictures} == {
        "coverage heat map", "coverage strip", "candle chart", "confidence over 24 h",
    }  # fmt: skip
    assert all(len(str(text)) < SHOWN_AT_ONCE for text in pictures.values())


def test_a_page_of_stale_candles_says_where_to_look(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    collect(pipeline, instance)
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.interval is Interval.M15 else None
    clock.advance(4 * 3_600_000)
    told = metadata(collect(pipeline, instance), "live_candles")
    assert str(told["fresh?"]).startswith("no: ")
    assert "collect_each_minute" in str(told["next step"])


def test_a_market_too_young_for_a_closed_candle_is_not_called_stale(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    collect(pipeline, instance)
    exchange.universe.append(market("YOUNG"))
    exchange.history_start_ms = clock.now_ms() - 20 * 60_000
    young = replace(pipeline, settings=pipeline.settings.model_copy(update={"markets": ("BTC", "ETH", "YOUNG")}))
    assert run_job("refresh_markets", pipeline=young, instance=instance).success
    clock.advance(5 * 60_000)
    assert collect(young, instance).success
    judged = {check.name: check for check in run_job("collect", pipeline=young, instance=instance).checks}
    assert [name for name, check in judged.items() if "/fresh_" in name and not check.passed] == []
    clock.advance(40 * 60_000)
    exchange.error = lambda request: ExchangeUnavailable("down") if request.series.coin == "YOUNG" else None
    judged = {check.name: check for check in run_job("collect", pipeline=young, instance=instance).checks}
    assert not judged["live_candles/fresh_15m"].passed
    assert judged["live_candles/fresh_1d"].passed
