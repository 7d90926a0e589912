"""The funding asset and its check, run as the job an operator starts."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.conftest import NOW
from hl_pipeline_tests.funding_rates import HOUR, FundingExchange, hourly

NOON = NOW // HOUR * HOUR


@pytest.fixture
def rates() -> FundingExchange:
    return FundingExchange(hourly("BTC", NOON - 999 * HOUR, 1000), hourly("ETH", NOON - 20 * HOUR, 21))


@pytest.fixture
def funded(pipeline: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange) -> Pipeline:
    """A pipeline that knows its markets, on an exchange of funding rates."""
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success
    return replace(pipeline, source=rates)  # type: ignore[arg-type]  # all that funding asks of it


def refresh(pipeline: Pipeline, instance: dg.DagsterInstance) -> tuple[RunOutcome, CheckOutcome]:
    outcome = run_job("refresh_funding", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    (check,) = outcome.checks
    return outcome, check


def test_a_run_says_what_it_stored_and_that_it_is_fresh(funded: Pipeline, instance: dg.DagsterInstance) -> None:
    outcome, check = refresh(funded, instance)
    told = outcome.assets["funding_rates"]
    assert (told["dagster/row_count"], told["rates stored"], told["hours missing"]) == (1021, 1021, 0)
    assert (told["markets behind"], told["history unfinished"], told["failures"]) == (0, "none", "none")
    assert told["weight spent"] == 45 + 45 + 20 + 22
    assert (check.name, check.passed) == ("funding_rates/funding_is_fresh", True)
    assert "0 of 2 listed markets are behind" in check.description


def test_a_second_run_asks_nothing(funded: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange) -> None:
    refresh(funded, instance)
    rates.asked.clear()
    outcome, check = refresh(funded, instance)
    assert (rates.asked, outcome.assets["funding_rates"]["weight spent"], check.passed) == ([], 0, True)


def test_a_market_that_is_behind_fails_the_check_with_found_bound_and_next_step(
    funded: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, rates: FundingExchange
) -> None:
    refresh(funded, instance)
    clock.advance(2 * HOUR)
    rates.rates += hourly("BTC", NOON + HOUR, 2)
    outcome, check = refresh(funded, instance)
    assert outcome.assets["funding_rates"]["markets behind"] == 1
    assert not check.passed
    assert "1 of 2 listed markets are behind (bound: newest rate at most 7200 s old)" in check.description
    assert "ETH" in check.description
    assert "refresh_funding" in str(check.metadata["next step"])


def test_the_pages_of_a_run_are_an_operator_s_choice(
    funded: Pipeline, instance: dg.DagsterInstance, rates: FundingExchange
) -> None:
    job = build(pipeline=funded).resolve_job_def("refresh_funding")
    config = {"ops": {"funding_rates": {"config": {"pages": 1}}}}
    result = job.execute_in_process(instance=instance, run_config=config)
    (event,) = result.asset_materializations_for_node("funding_rates")
    assert event.metadata["history unfinished"].value == "BTC, ETH"
    assert [lane for *_, lane in rates.asked] == ["backfill"]


def test_a_history_read_page_by_page_is_not_behind_and_says_how_far_it_is(
    funded: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, rates: FundingExchange
) -> None:
    config = {"ops": {"funding_rates": {"config": {"pages": 1}}}}
    clock.advance(3 * HOUR)
    outcome = run_job("refresh_funding", pipeline=funded, instance=instance, run_config=config)
    (check,) = outcome.checks
    assert not check.passed, "ETH was not read for three hours"
    outcome = run_job("refresh_funding", pipeline=funded, instance=instance, run_config=config)
    (check,) = outcome.checks
    assert check.passed
    assert "being read on from their listing" in check.description
    assert str(outcome.assets["funding_rates"]["whole?"]).startswith("no: ")


def test_one_failing_market_is_told_and_all_failing_fail_the_run(
    funded: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, rates: FundingExchange
) -> None:
    clock.advance(3 * HOUR)
    rates.error = lambda coin, _: ExchangeUnavailable("down") if coin == "ETH" else None
    outcome, check = refresh(funded, instance)
    assert "ETH: down" in str(outcome.assets["funding_rates"]["failures"])
    assert not check.passed
    rates.error = lambda *_: ExchangeUnavailable("down")
    outcome = run_job("refresh_funding", pipeline=funded, instance=instance)
    assert not outcome.success
    assert "the funding of 2 markets could not be read" in (outcome.failure or "")
    assert ": down" in (outcome.failure or "")
