"""The promises as verdicts, and the page that states them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hl_pipeline.health.service_levels import MOST_RUNS, OBJECTIVES, budgets, on_objectives, on_regression
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.performance import RunSample
from hl_pipeline.model.regression import LEAST_HISTORY, RECENT_RUNS
from hl_pipeline.model.service_level import Measured

PAGE = Path(__file__).resolve().parents[2] / "docs" / "service-levels.md"
NOTHING = {name: Measured(0, 0) for name in OBJECTIVES}


def sample(lane: str = "live", *, speed: float | None = 100.0, p99_ms: float | None = 50.0) -> RunSample:
    return RunSample(lane, speed, p99_ms, 150.0, 2.0)


def test_the_page_states_every_promise_with_its_numbers() -> None:
    rows = re.findall(
        r"^\| (\w+) \| (.+?) \| ([\d.]+) % \| (.+?) \| ([\d.]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    stated = [(name, events, float(target), rule, float(bound)) for name, events, target, rule, bound in rows]
    assert stated == [
        (each.name, each.events, float(100 * each.target), each.rule, each.bound) for each in OBJECTIVES.values()
    ]


def test_the_page_says_of_each_promise_how_it_is_measured_and_what_to_do() -> None:
    parts = re.findall(r"^\*\*(\w+)\.\*\* (.+?)(?=\n\n)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert [name.lower() for name, _ in parts] == list(OBJECTIVES)
    assert all("*Missed*" in text for _, text in parts)


def test_nothing_measured_is_said_and_is_no_finding() -> None:
    found = on_objectives(budgets(NOTHING))
    assert found.passed
    assert found.sentence.startswith(
        "0 of 8 service levels of the last 7 d are met, nothing to measure for throughput,"
    )


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_each_promise_can_be_kept_and_can_be_broken(name: str) -> None:
    kept = on_objectives(budgets({**NOTHING, name: Measured(10_000, 0, 1.0)}))
    assert kept.passed
    assert kept.numbers["missed"] == 0
    broken = on_objectives(budgets({**NOTHING, name: Measured(10_000, 600, 1.0)}))
    assert broken.status is Status.DEGRADED
    assert f"; {name}: 600 of 10,000" in broken.sentence
    assert ". Next: " in broken.sentence


def test_each_promise_is_kept_up_to_its_budget_and_not_beyond() -> None:
    for name, objective in OBJECTIVES.items():
        allowed = int((1 - objective.target) * 10_000)
        assert on_objectives(budgets({**NOTHING, name: Measured(10_000, allowed)})).passed
        assert not on_objectives(budgets({**NOTHING, name: Measured(10_000, allowed + 1)})).passed


def test_lanes_are_compared_with_themselves_alone() -> None:
    slow, fast = [sample("backfill", speed=5.0)] * 40, [sample("live", speed=100.0)] * 40
    found = on_regression([*slow, *fast])
    assert found.passed
    assert found.numbers["compared"] == 8


def test_a_regression_names_lane_value_both_medians_and_bound() -> None:
    runs = [*[sample(speed=20.0)] * RECENT_RUNS, *[sample()] * LEAST_HISTORY]
    found = on_regression(runs)
    assert found.status is Status.DEGRADED
    assert "live: candles/s 20.0, before 100.0 (bound 66.7, 20 runs)" in found.sentence
    assert (found.numbers["live: candles/s"], found.numbers["live: candles/s before"]) == (20.0, 100.0)
    assert found.numbers["regressed"] == 1


def test_runs_that_received_nothing_have_no_speed_to_compare() -> None:
    runs = [sample(speed=None, p99_ms=None)] * MOST_RUNS
    found = on_regression(runs)
    assert found.passed
    assert found.numbers["compared"] == 2, "memory and processor time alone"
