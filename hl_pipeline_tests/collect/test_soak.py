"""Twenty short soaks: minutes of a stream under seeded trouble, then a calm without it, and all that is held is so."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.soak import Options, soak
from benchmarks.soak_plan import Kind, draw
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.storage.engine import Database

COINS = [f"C{number}" for number in range(20)]


@pytest.mark.parametrize("seed", range(20))
def test_after_trouble_and_a_calm_every_candle_is_final_and_true(database: Database, seed: int) -> None:
    found = soak(database, Options(markets=4, minutes=6, speed=75, seed=seed, calm_speed=0))
    assert found.wrongs == [], f"seed {seed}: {found.lines}"


def test_a_plan_is_the_seeds_alone_and_a_long_one_has_every_trouble_at_every_endpoint() -> None:
    plan = draw(7, 0, 30 * MINUTE_MS, COINS)
    assert plan == draw(7, 0, 30 * MINUTE_MS, COINS)
    assert plan.lines != draw(8, 0, 30 * MINUTE_MS, COINS).lines
    assert {trouble.kind for trouble in plan.troubles} == set(Kind)
    assert plan.rows
    spans = [(trouble.since_ms, trouble.until_ms) for trouble in plan.troubles]
    assert spans == sorted(spans)
    assert all(0 < start < end < 30 * MINUTE_MS for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert next(one for one in plan.troubles if one.kind is Kind.ALL_DOWN).until_ms - 5 * MINUTE_MS in {
        start for start, _ in spans
    }
    assert len(plan.of_endpoint(0)) > len(plan.of_endpoint(1)) > len(plan.rows)


def test_twenty_short_plans_have_every_trouble_among_them() -> None:
    plans = [draw(seed, 0, 6 * MINUTE_MS, COINS[:4]) for seed in range(20)]
    assert {trouble.kind for plan in plans for trouble in plan.troubles} == set(Kind)
