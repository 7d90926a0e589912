"""The asset and its check over two real exchanges: one goes down, then both; an alert's worth each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from dagster import DagsterInstance

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.runtime import Pipeline
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.rest import HyperliquidRest

DOWN = Fault(FaultKind.BAD_GATEWAY)


@pytest.fixture
def sandboxes(clock: ManualClock) -> Iterator[list[RunningSandbox]]:
    first, second = (RunningSandbox(World(7, clock=clock, history_days=1), limiter=LimiterMode.OFF) for _ in range(2))
    with first, second:
        yield [first, second]


@pytest.fixture
def watched(pipeline: Pipeline, sandboxes: list[RunningSandbox]) -> Iterator[Pipeline]:
    """The pipeline on both of them."""
    urls = [sandbox.url for sandbox in sandboxes]
    with HyperliquidRest(urls, budget=pipeline.budget, registry=pipeline.endpoints) as source:
        pipeline.endpoints.ensure(source.endpoints)
        yield replace(pipeline, source=source)


def look(pipeline: Pipeline, instance: DagsterInstance) -> tuple[RunOutcome, CheckOutcome]:
    outcome = run_job("health", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    (check,) = (check for check in outcome.checks if check.name == "endpoint_health/endpoints_healthy")
    return outcome, check


def test_the_asset_shows_each_endpoint_and_the_check_grows_graver_as_they_go(
    watched: Pipeline, instance: DagsterInstance, clock: ManualClock, sandboxes: list[RunningSandbox]
) -> None:
    outcome, check = look(watched, instance)
    told = outcome.assets["endpoint_health"]
    assert (told["probed now"], told["slots that differ"]) == (2, 0)
    for sandbox in sandboxes:
        assert sandbox.url.removeprefix("http://") in str(told["endpoints"])
    assert check.passed, check.description
    for sandbox, severity in zip(sandboxes, ("WARN", "ERROR"), strict=True):
        sandbox.faults.add(DOWN)
        for _ in range(5):
            clock.advance(60_000)
            outcome, check = look(watched, instance)
        assert (check.passed, check.severity) == (False, severity)
        assert "rests after" in check.description
    assert "502" in str(outcome.assets["endpoint_health"]["endpoints"])
    assert check.metadata["next step"]
    for sandbox in sandboxes:
        sandbox.faults.clear()
    clock.advance(60_000)
    _, check = look(watched, instance)
    assert check.passed, check.description


def test_what_another_process_probed_a_moment_ago_is_only_shown(
    watched: Pipeline, instance: DagsterInstance, clock: ManualClock, sandboxes: list[RunningSandbox]
) -> None:
    look(watched, instance)
    clock.advance(54_000)
    outcome, _ = look(watched, instance)
    assert outcome.assets["endpoint_health"]["probed now"] == 0
    assert [len(sandbox.log.entries()) for sandbox in sandboxes] == [1, 1]


def test_before_anything_was_opened_there_is_nothing_to_probe(pipeline: Pipeline, instance: DagsterInstance) -> None:
    outcome, check = look(pipeline, instance)
    assert check.passed
    assert "no endpoint was asked yet" in check.description
    assert outcome.assets["endpoint_health"]["endpoints"] == "none"
