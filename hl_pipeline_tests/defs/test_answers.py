"""The page of each asset says first: is it fresh, is it whole, what is to be done."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from hl_pipeline.defs import assets as assets_
from hl_pipeline.defs.assets.backfill_forecast import backfill_forecast
from hl_pipeline.defs.describe import NEXT_STEP
from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.conftest import NOW
from hl_pipeline_tests.fakes import FakeExchange
from hl_pipeline_tests.funding_rates import HOUR, FundingExchange, hourly

NOON = NOW // HOUR * HOUR
ASSETS = Path(assets_.__path__[0])
PAGE = {"fresh?", "whole?", NEXT_STEP}


def newest(instance: dg.DagsterInstance, asset: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None, f"{asset} was never made"
    made = event.asset_materialization
    assert made is not None
    return {name: value.value for name, value in made.metadata.items()}


def ran(job: str, pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    outcome = run_job(job, pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure


@pytest.fixture
def everything(pipeline: Pipeline, instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Each job ran once, the hourly bars and the quotes of this month included."""
    ran("refresh_markets", pipeline, instance)
    paid = FundingExchange(*(hourly(coin, NOON - 30 * HOUR, 31) for coin in ("BTC", "ETH")))
    funded = replace(pipeline, source=paid)  # type: ignore[arg-type]  # all that funding asks of it
    ran("refresh_funding", funded, instance)
    jobs = ("collect", "drain_gaps", "health", "contracts", "measure_service_levels", "apply_retention")
    for job in jobs:
        ran(job, pipeline, instance)
    months = ("BTC|2025-12-01", "BTC|2026-01-01")
    filled = run_job("backfill_candles", pipeline=pipeline, instance=instance, partitions=months)
    assert filled.success, filled.failure
    with_resources = {"pipeline": pipeline}
    assert dg.materialize([backfill_forecast], resources=with_resources, instance=instance).success
    ran("seal", pipeline, instance)
    return instance


def test_every_asset_answers_before_it_tells_anything_else(everything: dg.DagsterInstance, pipeline: Pipeline) -> None:
    assets = {key.to_user_string() for key in build(pipeline=pipeline).resolve_asset_graph().executable_asset_keys}
    # 1m, 5m and 4h are not among this pipeline's intervals
    for asset in sorted(assets - {"candles_1m", "candles_5m", "candles_4h"}):
        told = [name for name in newest(everything, asset) if not name.startswith("dagster/")]
        answers = told[: 1 + told.index(NEXT_STEP)] if NEXT_STEP in told else []
        assert answers, f"{asset} does not say what to do: {told}"
        assert set(answers) <= PAGE, f"{asset} tells {answers} first"


def test_a_month_under_way_says_that_more_will_come_and_a_closed_one_that_it_stays(
    everything: dg.DagsterInstance,
) -> None:
    records = everything.fetch_materializations(dg.AssetKey("candles_1h"), 100).records
    made = [record.asset_materialization for record in records]
    told = {str(event.partition): event.metadata for event in made if event is not None}
    closed, under_way = told["BTC|2025-12-01"], told["BTC|2026-01-01"]
    assert closed["fresh?"].value == "the month is over; only a revision changes it"
    assert "seal records it again" in str(under_way["fresh?"].value)
    assert closed["whole?"].value == "yes, of what can be had: whole and closed"
    assert closed[NEXT_STEP].value == "nothing"


def test_quotes_that_the_exchange_no_longer_gives_are_called_late(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    ran("collect", pipeline, instance)
    told = newest(instance, "market_contexts")
    assert told["fresh?"] == "yes: each market was quoted within the last 0 s"
    assert (told["whole?"], told[NEXT_STEP]) == ("yes: 2 of 2 markets have a young quote", "nothing")
    exchange.unquoted.add("ETH")
    clock.advance(10 * 60_000)
    ran("collect", pipeline, instance)
    told = newest(instance, "market_contexts")
    assert (told["fresh?"], told["whole?"]) == ("no: late are ETH", "no: 1 of 2 markets have a young quote")
    assert "hl.market" in str(told[NEXT_STEP])


def test_the_page_of_the_health_log_names_who_is_ill_and_the_step_of_the_worst(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    ran("collect", pipeline, instance)
    exchange.error = lambda _: ExchangeUnavailable("down")
    clock.advance(4 * HOUR)
    run_job("health", pipeline=pipeline, instance=instance)
    told = newest(instance, "system_health")
    assert str(told["whole?"]).startswith("no: ")
    assert "fresh_15m (" in str(told["whole?"])
    assert str(told[NEXT_STEP]) != "nothing"


def test_every_job_that_a_page_says_to_run_exists(pipeline: Pipeline) -> None:
    jobs = {job.name for job in build(pipeline=pipeline).get_repository_def().get_all_jobs()}
    told = {
        name for source in ASSETS.glob("*.py") for name in re.findall(r"\bthe job (\w+)", source.read_text("utf-8"))
    }
    assert told >= {"collect", "drain_gaps", "apply_retention"}
    assert told <= jobs


def test_a_promise_that_is_missed_is_named_with_its_page(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    ran("refresh_markets", pipeline, instance)
    exchange.error = lambda _: ExchangeUnavailable("down")
    run_job("collect", pipeline=pipeline, instance=instance)
    ran("measure_service_levels", pipeline, instance)
    told = newest(instance, "service_levels")
    assert "errors" in str(told[NEXT_STEP])
    assert "docs/service-levels.md" in str(told[NEXT_STEP])
