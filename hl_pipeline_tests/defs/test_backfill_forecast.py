"""The asset a person materializes before launching a back-fill."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.defs.assets.backfill_forecast import backfill_forecast
from hl_pipeline.defs.launch import run_job
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange

QUARTER = {"markets": ["BTC"], "intervals": ["1h"], "start": "2025-10-15", "end": "2026-01-11"}


def materialized(pipeline: Pipeline, **choice: object) -> dict[str, Any]:
    result = dg.materialize(
        [backfill_forecast],
        resources={"pipeline": pipeline},
        run_config={"ops": {"backfill_forecast": {"config": choice}}},
        selection=[backfill_forecast],
    )
    (made,) = result.asset_materializations_for_node("backfill_forecast")
    return {name: value.value for name, value in made.metadata.items()}


@pytest.fixture(autouse=True)
def tracked(pipeline: Pipeline) -> None:
    settings = pipeline.settings
    refresh_markets(
        pipeline.source, pipeline.database, pipeline.clock, coins=settings.markets, intervals=settings.intervals
    )


def test_it_forecasts_what_the_back_fill_then_asks(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success
    told = materialized(pipeline, **{**QUARTER, "start": "2025-10-01"})
    assert exchange.requests == []
    assert told["next step"].startswith("select candles_1m to candles_1d")
    run = run_job(
        "backfill_candles", partitions=("BTC|2025-10-01", "BTC|2026-01-01"), pipeline=pipeline, instance=instance
    )
    assert run.success
    hourly = [request for request in exchange.requests if str(request.series.interval) == "1h"]
    assert told["requests"] == len(hourly)
    assert told["rows"] == sum(request.slots for request in hourly)
    again = materialized(pipeline, **QUARTER)
    assert (again["requests"], again["MB"]) == (0, 0.0)
    assert again["next step"].startswith("nothing to launch")


def test_months_that_are_gone_stand_in_its_table(pipeline: Pipeline) -> None:
    told = materialized(pipeline, markets=["ETH"], intervals=["15m"], start="2025-10-15")
    by_month = {record.data["month"]: record.data for record in told["months"].records}
    assert {month: row["source"] for month, row in by_month.items()} == {
        "2025-10": "gone",
        "2025-11": "partly gone",
        "2025-12": "reachable",
        "2026-01": "reachable",
    }
    assert "the exchange keeps the newest 5,000 candles, 15m since 2025-11-19" in by_month["2025-10"]["what can be had"]
    assert told["months that cannot be had"] == 1


def test_without_a_choice_it_reckons_all_markets_and_the_last_ninety_days(pipeline: Pipeline) -> None:
    told = materialized(pipeline)
    assert told["requests"] == 2 * 3
    assert told["from"] == pipeline.clock.now_ms() / 1000 - 90 * 86_400
    assert told["dagster/row_count"] == 2 * 3 * 4


def test_over_the_ceiling_the_next_step_says_so(pipeline: Pipeline) -> None:
    settings = pipeline.settings.model_copy(update={"backfill_max_weight": 20})
    tight = Pipeline(settings, pipeline.database, pipeline.source, pipeline.clock, pipeline.budget, pipeline.policy)
    assert "HL_BACKFILL_MAX_WEIGHT allows 20" in materialized(tight, **QUARTER)["next step"]


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"markets": ["btc"]}, "btc is no market that is collected: choose of BTC, ETH"),
        ({"intervals": ["2h"]}, "2h is no interval that is collected"),
        ({"start": "soon"}, "'soon' is not an instant"),
        ({"start": "2030-01-01"}, "is not before end now"),
    ],
)
def test_what_cannot_be_meant_is_refused(pipeline: Pipeline, choice: dict[str, object], complaint: str) -> None:
    with pytest.raises(dg.Failure, match=complaint):
        materialized(pipeline, **choice)
