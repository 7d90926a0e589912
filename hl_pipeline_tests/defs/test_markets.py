"""The markets asset: what it says of listings, delistings and whom it collects."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest

from hl_pipeline.defs.listing import build
from hl_pipeline.defs.partitions import month_span
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import partitions
from hl_pipeline.storage.partitions import PartitionState
from hl_pipeline_tests.fakes import FakeExchange, market

HOUR = 3_600_000


@pytest.fixture
def everything(pipeline: Pipeline) -> Pipeline:
    """The pipeline with all listed perpetuals as its universe."""
    return replace(pipeline, settings=pipeline.settings.model_copy(update={"universe": Universe.ALL}))


def refreshed(pipeline: Pipeline, instance: dg.DagsterInstance) -> dict[str, object]:
    result = build(pipeline=pipeline).resolve_job_def("refresh_markets").execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("markets")
    return {name: value.value for name, value in event.metadata.items()}


def test_a_new_listing_is_named_and_becomes_a_partition(
    everything: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    refreshed(everything, instance)
    assert instance.get_dynamic_partitions("market") == ["BTC", "ETH"]
    exchange.universe.append(market("NEW"))
    clock.advance(HOUR)
    told = refreshed(everything, instance)
    assert {told[name] for name in ("newly listed", "newly tracked")} == {"NEW"}
    assert told["tracked"] == 3
    assert instance.get_dynamic_partitions("market") == ["BTC", "ETH", "NEW"]


def test_a_delisted_a_vanished_and_an_unwanted_market_are_named_and_keep_their_partitions(
    everything: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    exchange.universe.append(market("SOL"))
    refreshed(everything, instance)
    exchange.universe = [market("BTC"), market("ETH", is_delisted=True)]
    clock.advance(HOUR)
    told = refreshed(everything, instance)
    assert (told["newly delisted"], told["named no more"], told["tracked no more"]) == ("ETH", "SOL", "none")
    settings = everything.settings.model_copy(update={"universe": Universe.LIST, "markets": ("BTC",)})
    clock.advance(HOUR)
    told = refreshed(replace(everything, settings=settings), instance)
    assert told["tracked no more"] == "ETH, SOL"
    assert instance.get_dynamic_partitions("market") == ["BTC", "ETH", "SOL"]


def test_nothing_becomes_due_of_a_market_that_is_not_collected_any_more(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    def january() -> dict[str, PartitionState]:
        with pipeline.database.connection() as connection:
            found = partitions.states(
                connection,
                Interval.H1,
                coins=["BTC", "ETH"],
                month_starts_ms=[month_span("2026-01-01").start_ms],
                now_ms=clock.now_ms(),
                settle_ms=10_000,
            )
        return {state.coin: state for state in found}

    build(pipeline=pipeline).resolve_job_def("collect").execute_in_process(instance=instance)
    both = january()
    assert both["BTC"].is_whole
    assert both["ETH"].is_whole
    settings = pipeline.settings.model_copy(update={"markets": ("BTC",)})
    refreshed(replace(pipeline, settings=settings), instance)
    clock.advance(5 * HOUR)
    later = january()
    assert later["BTC"].gap == 5
    assert later["ETH"] == both["ETH"]


def test_long_lists_of_names_are_cut_short_and_counted(
    everything: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    exchange.universe = [market(f"C{number:02}") for number in range(60)]
    told = refreshed(everything, instance)
    assert str(told["newly tracked"]).endswith("C24 and 35 more")
