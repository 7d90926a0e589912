"""Funding and quotes by month: recorded when whole, and what cannot be had says so."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import dagster as dg
import pytest

from hl_pipeline.collect.markets import refresh_contexts
from hl_pipeline.collect.progress import NowAndThen
from hl_pipeline.defs.assets import funding_history as funding_asset
from hl_pipeline.defs.assets.funding_history import funding_history
from hl_pipeline.defs.assets.market_context_history import market_context_history
from hl_pipeline.defs.launch import run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.runtime import Pipeline
from hl_pipeline.sandbox.catalogue import day
from hl_pipeline.storage import funding
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.defs.conftest import NOW
from hl_pipeline_tests.funding_rates import HOUR, FundingExchange, hourly

FUNDING, QUOTES = dg.AssetKey("funding_history"), dg.AssetKey("market_context_history")
#: The market's first rate: in the middle of a month.
LISTED = day("2025-10-16")
NOON = NOW // HOUR * HOUR


@pytest.fixture
def rates() -> FundingExchange:
    """BTC from its listing to now but for two hours in November; ETH only lately."""
    paid = hourly("BTC", LISTED, (NOON - LISTED) // HOUR + 1)
    missing = {day("2025-11-20") // HOUR, day("2025-11-20") // HOUR + 1}
    paid = [rate for rate in paid if (rate.time_ms + 600_000) // HOUR not in missing]
    return FundingExchange(paid, hourly("ETH", NOON - 20 * HOUR, 21))


@pytest.fixture
def funded(pipeline: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange) -> Pipeline:
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success
    return replace(pipeline, source=rates)  # type: ignore[arg-type]  # all that funding asks of it


def run(
    asset: dg.AssetsDefinition, pipeline: Pipeline, instance: dg.DagsterInstance, first: str, last: str
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset],
        resources={"pipeline": pipeline},
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": f"BTC|{first}",
            "dagster/asset_partition_range_end": f"BTC|{last}",
        },
        raise_on_error=False,
    )


def metadata(events: Sequence[dg.AssetMaterialization | dg.AssetObservation | None]) -> dict[str, dict[str, object]]:
    return {
        str(event.partition): {name: value.value for name, value in event.metadata.items()}
        for event in events
        if event is not None
    }


def recorded(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, dict[str, object]]:
    return metadata([record.asset_materialization for record in instance.fetch_materializations(key, 100).records])


def observed(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, dict[str, object]]:
    return metadata([record.asset_observation for record in instance.fetch_observations(key, 100).records])


def test_funding_months_read_to_their_end_are_recorded_and_the_one_before_the_listing_says_so(
    funded: Pipeline, instance: dg.DagsterInstance
) -> None:
    assert run(funding_history, funded, instance, "2025-09-01", "2026-01-01").success
    made = recorded(instance, FUNDING)
    assert sorted(made) == ["BTC|2025-10-01", "BTC|2025-11-01", "BTC|2025-12-01", "BTC|2026-01-01"]
    october, november, january = (made[f"BTC|{month}"] for month in ("2025-10-01", "2025-11-01", "2026-01-01"))
    assert (october["rates due"], october["dagster/partition_row_count"], october["sealed"]) == (16 * 24, 16 * 24, True)
    assert (november["rates due"], november["never sent"], november["coverage %"]) == (720, 2, 99.7222)
    assert january["sealed"] is False
    why = observed(instance, FUNDING)["BTC|2025-09-01"]["why"]
    assert why == "before the first funding rate of BTC, 2025-10-16 00:00"


def test_a_long_reading_says_how_far_it_is(
    funded: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funding_asset, "NowAndThen", partial(NowAndThen, 0.0))
    done = run(funding_history, funded, instance, "2025-12-01", "2025-12-01")
    lines = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert any(line.endswith("pages, 45 weight, 500 rates") for line in lines)
    assert any(line.startswith("4 of at most ") and line.endswith("180 weight, 2000 rates") for line in lines)


def test_two_runs_over_the_same_markets_do_not_read_side_by_side(database: Database) -> None:
    waited, over = threading.Event(), threading.Event()
    order: list[str] = []

    def wait() -> None:
        waited.set()
        assert over.wait(30)

    def second() -> None:
        with funding.reading(database, wait):
            order.append("second")

    other = threading.Thread(target=second)
    with funding.reading(database, wait):
        other.start()
        assert waited.wait(30)
        order.append("first")
    over.set()
    other.join(30)
    assert order == ["first", "second"]


def test_reading_stops_behind_the_chosen_month_and_goes_on_from_there(
    funded: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange
) -> None:
    assert run(funding_history, funded, instance, "2025-10-01", "2025-10-01").success
    assert len(rates.asked) == 1
    assert run(funding_history, funded, instance, "2025-10-01", "2025-10-01").success
    assert len(rates.asked) == 1, "what was read is not asked for again"
    assert run(funding_history, funded, instance, "2025-12-01", "2025-12-01").success
    assert len(rates.asked) == 1 + 3
    assert sorted(recorded(instance, FUNDING)) == ["BTC|2025-10-01", "BTC|2025-12-01"]


def test_a_month_that_could_not_be_read_fails_alone(
    funded: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange
) -> None:
    assert run(funding_history, funded, instance, "2025-10-01", "2025-10-01").success
    rates.error = lambda coin, start_ms: ExchangeUnavailable(f"down for {coin} from {start_ms}")
    done = run(funding_history, funded, instance, "2025-10-01", "2025-12-01")
    assert not done.success
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    told = failed.step_failure_data.user_failure_data
    assert told is not None
    assert (told.description or "").startswith("2 of the chosen months have holes: BTC|2025-11-01")
    assert "First failure: BTC: down for BTC" in (told.description or "")
    assert "BTC|2025-10-01" in recorded(instance, FUNDING)
    assert "BTC|2025-12-01" not in recorded(instance, FUNDING)


def test_over_the_ceiling_no_funding_is_asked_for(
    funded: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange
) -> None:
    tight = replace(funded, settings=funded.settings.model_copy(update={"backfill_max_weight": 100}))
    assert not run(funding_history, tight, instance, "2025-12-01", "2025-12-01").success
    assert rates.asked == []


def test_quotes_are_recorded_by_month_with_the_hours_that_were_seen(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success
    clock.advance(5 * HOUR)
    refresh_contexts(pipeline.source, pipeline.database, pipeline.clock, coins=("BTC",))
    assert run(market_context_history, pipeline, instance, "2025-12-01", "2026-02-01").success
    made = recorded(instance, QUOTES)
    assert list(made) == ["BTC|2026-01-01"]
    january = made["BTC|2026-01-01"]
    assert (january["hours with a quote"], january["hours due"], january["coverage %"]) == (2, 6, 33.3333)
    assert january["sealed"] is False
    left = observed(instance, QUOTES)
    assert str(left["BTC|2025-12-01"]["why"]).startswith("source gone: the exchange keeps no history of quotes")
    assert left["BTC|2026-02-01"]["why"] == "the month has not begun"


def test_the_nightly_look_reports_funding_and_quotes_too(funded: Pipeline, instance: dg.DagsterInstance) -> None:
    assert run_job("refresh_funding", pipeline=funded, instance=instance).success
    assert run_job("seal", pipeline=funded, instance=instance).success
    assert set(recorded(instance, FUNDING)) >= {"BTC|2025-10-01", "BTC|2026-01-01", "ETH|2026-01-01"}
    assert set(recorded(instance, QUOTES)) == {"BTC|2026-01-01", "ETH|2026-01-01"}
