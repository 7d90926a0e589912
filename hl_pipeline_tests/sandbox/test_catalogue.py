"""Worlds of many markets: as many as asked for, with volumes and lives that change at set instants."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.catalogue import MarketSpec, first_perps
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.world import World
from hl_pipeline_tests.sandbox.worlds import BTC, MINUTE, NOW, SLOW, ask, exchange


def told(there: Exchange) -> dict[str, Any]:
    """Context by name, in the universe's order."""
    meta, contexts = json.loads(ask(there, {"type": "metaAndAssetCtxs"}).body)
    return dict(zip([entry["name"] for entry in meta["universe"]], contexts, strict=True))


def world(*markets: MarketSpec) -> World:
    return World(7, markets=markets, clock=ManualClock(NOW))


def clock_of(there: World) -> ManualClock:
    assert isinstance(there.clock, ManualClock)
    return there.clock


@pytest.mark.parametrize("count", [1, 50, 230])
def test_a_world_has_as_many_trading_perps_as_asked_for(count: int) -> None:
    perps = first_perps(count, NOW)
    assert len({perp.coin for perp in perps}) == count
    assert perps[0].coin == "BTC"
    contexts = told(exchange(world(*perps)))
    assert list(contexts) == [perp.coin for perp in perps]
    assert all(float(context["dayNtlVlm"]) > 0 for context in contexts.values())


def test_the_told_volume_changes_at_its_instant() -> None:
    rising = replace(SLOW, day_volumes=((NOW - MINUTE, 1000.0), (NOW + 5 * MINUTE, 9_000_000.0)))
    here = world(BTC, rising)
    there = exchange(here)
    assert float(told(there)["SLOW"]["dayNtlVlm"]) == pytest.approx(1000.0, rel=0.01)
    clock_of(here).advance(6 * MINUTE)
    assert float(told(there)["SLOW"]["dayNtlVlm"]) == pytest.approx(9_000_000.0, rel=0.01)


def test_a_withdrawn_market_is_gone_and_its_successor_takes_its_place() -> None:
    at = NOW + 5 * MINUTE
    old, new = replace(SLOW, withdrawn_ms=at), replace(SLOW, coin="NEWNAME", listed_ms=at - at % MINUTE)
    here = world(BTC, old, new)
    there = exchange(here)
    assert list(told(there)) == ["BTC", "SLOW"]
    clock_of(here).advance(6 * MINUTE)
    assert list(told(there)) == ["BTC", "NEWNAME"]
    assert (
        ask(there, {"type": "candleSnapshot", "req": {"coin": "SLOW", "interval": "1m", "startTime": 0}}).status == 500
    )
