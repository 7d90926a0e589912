"""What ``make bench-scale`` calls too dear: costs that outgrow the markets, ledger costs that grow with the rows."""

from __future__ import annotations

import pytest

from benchmarks.scale import Options, judge
from benchmarks.scale_cost import Cost

OPTIONS = Options(markets=(6, 50, 200), months=(1, 12), runs=5, seconds=1, minutes=1)
LINEAR = {(markets, months): Cost(1.0, 0.010 * markets) for markets in OPTIONS.markets for months in OPTIONS.months}


@pytest.mark.parametrize("step", ["score confidence", "plan the live edge"])
def test_costs_that_grow_with_the_markets_alone_are_fine(step: str) -> None:
    assert judge({step: LINEAR}, OPTIONS) == []


def test_costs_that_grow_with_the_square_of_the_markets_are_named() -> None:
    square = {cell: Cost(1.0, 0.001 * cell[0] ** 2) for cell in LINEAR}
    found = judge({"score confidence": square}, OPTIONS)
    assert {broken.step for broken in found} == {"score confidence"}
    assert any("200 markets take 1111.1 x 6 (bound 50.0)" in broken.sentence for broken in found)


@pytest.mark.parametrize(("step", "is_broken"), [("plan the live edge", True), ("score confidence", False)])
def test_only_the_ledger_must_not_grow_with_the_rows(step: str, is_broken: bool) -> None:
    grown = {cell: Cost(1.0, cost.cpu * (2 if cell[1] == 12 else 1)) for cell, cost in LINEAR.items()}
    assert bool(judge({step: grown}, OPTIONS)) is is_broken


def test_a_few_milliseconds_prove_nothing() -> None:
    tiny = {cell: Cost(1.0, 0.002 if cell == (200, 12) else 0.00001) for cell in LINEAR}
    assert judge({"open gaps": tiny}, OPTIONS) == []


def test_the_clock_does_not_count() -> None:
    slow = {cell: Cost(cell[0] ** 3, cost.cpu) for cell, cost in LINEAR.items()}
    assert judge({"open gaps": slow}, OPTIONS) == []
