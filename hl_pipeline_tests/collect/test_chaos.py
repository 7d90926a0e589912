"""Hours of an exchange that misbehaves in every way it can, then a calm: what we hold equals its truth.

Each seed draws its own faults, quiet-minute manners, pauses and lives: one
market is listed and one delisted on the way. The seed is in the test's name.
"""

from __future__ import annotations

import random

import pytest

from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, WindowMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.collect.test_drill import MINUTE, NOON, Drill, same

INTERVALS = (Interval.M1, Interval.M5, Interval.H1)
HOUR = 60 * MINUTE
ROW_FAULTS = (
    FaultKind.NAN,
    FaultKind.UNDERSCORE,
    FaultKind.WRONG_COIN,
    FaultKind.OFF_GRID,
    FaultKind.HIGH_BELOW_LOW,
    FaultKind.VOLUME_WITHOUT_TRADES,
    FaultKind.DUPLICATE,
    FaultKind.OUT_OF_ORDER,
)


def lives(calm_ms: int) -> list[MarketSpec]:
    """A busy market, a quiet one, one that is delisted and one that is listed on the way."""
    return [
        MarketSpec("BTC", 64_000, 5, 40),
        MarketSpec("QUIET", 0.4, 1, 5, quiet=0.3),
        MarketSpec("GOING", 12, 2, 5, quiet=0.02, delisted_ms=calm_ms - 4 * HOUR),
        MarketSpec("COMING", 3, 2, 5, quiet=0.02, listed_ms=calm_ms - 3 * HOUR),
    ]


def troubles(chance: random.Random, now_ms: int, calm_ms: int) -> list[Fault]:
    """Faults of whole answers, of rows and of slots, all over by ``calm_ms``."""
    broken = [Fault(kind, chance=0.01, until_ms=calm_ms) for kind in ROW_FAULTS]
    broken += [Fault(FaultKind.STALE, chance=0.05, amount=3 * MINUTE, until_ms=calm_ms)]
    broken += [Fault(FaultKind.BAD_GATEWAY, since_ms=calm_ms - 2 * HOUR, until_ms=calm_ms - 80 * MINUTE)]
    for coin in ("BTC", "QUIET", "GOING"):
        for interval in INTERVALS:
            # re-reads reach back 36 hours or 60 slots, and a market that ends is read no more
            oldest = 20 if coin == "GOING" else 50 if interval is Interval.H1 else 120
            opened = [interval.floor(now_ms) - n * interval.milliseconds for n in range(1, oldest)]
            until = now_ms + chance.randrange(10, 200) * MINUTE
            broken.append(
                Fault(FaultKind.LATE, coin, str(interval), opens_ms=tuple(chance.sample(opened, 8)), until_ms=until)
            )
            revised_until = now_ms + chance.randrange(5, 200) * MINUTE
            broken.append(
                Fault(FaultKind.REVISED, coin, str(interval), opens_ms=tuple(opened[:2]), until_ms=revised_until)
            )
    return broken


@pytest.mark.parametrize("seed", range(3))
def test_after_any_hours_of_faults_and_a_calm_every_slot_is_right(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    clock = ManualClock(NOON + 20_000)
    calm_ms = NOON + 8 * HOUR
    faults = FaultPlan.seeded(seed, chance=0.15)
    faults.add(*troubles(chance, clock.now_ms(), calm_ms))
    world = World(seed, markets=lives(calm_ms), clock=clock, history_days=2)
    manners = Manners(chance.choice(list(QuietMode)), chance.choice(list(WindowMode)))
    budget = PostgresBudget(database, key="chaos", max_weight=1_000_000)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=manners, faults=faults) as sandbox,
        HyperliquidRest(sandbox.url, budget=budget, sleep=lambda _: None) as source,
    ):
        drill = Drill(sandbox, source, database, ("BTC", "QUIET", "GOING", "COMING"))
        failures = 0
        while clock.now_ms() < calm_ms:
            refresh(drill)
            failures += len(drill.collect().failures)
            clock.advance(chance.choice([1, 1, 2, 5, 20]) * MINUTE + chance.randrange(0, 60_000))
        assert failures, "nothing went wrong, so nothing is tested"
        faults.clear()
        # two days for the last re-reads, then time enough to prove the newest absences
        for pause in [12 * HOUR] * 4 + [31 * MINUTE] * 8:
            refresh(drill)
            drill.collect()
            clock.advance(pause)
        for coin in drill.coins:
            for interval in INTERVALS:
                check_series(drill, coin, interval)


def refresh(drill: Drill) -> None:
    """As the hourly job does it; a refresh that fails leaves what was known."""
    try:
        refresh_markets(drill.source, drill.database, drill.clock, coins=drill.coins, intervals=INTERVALS)
    except TryAgain:
        with drill.database.connection() as connection:
            known = connection.execute("select count(*) from hl.market").fetchone()
        assert known is not None


def check_series(drill: Drill, coin: str, interval: Interval) -> None:
    """Each slot old enough to be judged is final and true, or proven empty and without a trade, or was lost."""
    stored = drill.stored(coin, interval)
    truth = {true.open_ms: true for true in drill.truth(coin, interval, stored)}
    assert same(stored, [truth[found.open_ms] for found in stored]), f"{coin} {interval} differs from the truth"
    empty, lost = drill.settled("empty", coin, interval), drill.settled("lost", coin, interval)
    assert all(truth[at].trades == 0 for at in empty if at in truth)
    begin, end = drill.sandbox.truth.life(coin)
    judged = [at for at in truth if begin <= at < min(end, drill.clock.now_ms() - 3 * HOUR)]
    assert set(judged) - empty - lost - {found.open_ms for found in stored} == set(), f"{coin} {interval} has holes"
    if coin == "GOING":
        assert stored[-1].open_ms == max(at for at in truth if truth[at].trades or at in {s.open_ms for s in stored})
