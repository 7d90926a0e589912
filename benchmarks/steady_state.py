"""``python -m benchmarks.steady_state``: what a day without the stream costs in weight, on a simulated clock.

Ticks and drains run as the schedule and the sensor start them, over HTTP against
the sandbox; only the clock is moved by hand. Waiting for the weight budget moves it too.
The naive poller it is held against asks six intervals for 100 candles every five minutes: 38,016 a market-day.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hl_pipeline.collect.drain import drain, due_queue
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE, request_weight
from hl_pipeline.runtime import BUDGET_SHARE
from hl_pipeline.sandbox.catalogue import first_perps
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.series import violations

DAY_MS = 1440 * MINUTE_MS
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
NAIVE = 288 * len(Interval) * request_weight("candleSnapshot", 100)
#: So many ticks bring the first day home, and the minutes that passed meanwhile; waiting until nothing is due would not
#: end with many markets, whose tick takes minutes.
FIRST_TICKS = 4
#: 288 reads of 24: what a market-day may cost at a five-minute period.
MOST_A_MARKET_DAY = 6_912


@dataclass(frozen=True, slots=True)
class Steady:
    """What the simulated hours cost; weights are the exchange's own count, of candle requests alone."""

    markets: int
    hours: float
    ticks: int
    weight: int
    busiest_minute: int
    refused: int

    @property
    def market_day(self) -> float:
        """Weight a market and day."""
        return self.weight / self.markets / (self.hours / 24)

    @property
    def share(self) -> float:
        """Share of our budget that it takes, 0 to 1."""
        return self.weight / (self.hours * 60) / (EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE)


def simulate(database: Database, markets: int, period_ms: int, hours: float) -> Steady:
    """Collect a market's first day, then follow it for ``hours`` in ticks ``period_ms`` apart."""
    with _follower(database, markets, period_ms) as follow:
        for _ in range(FIRST_TICKS):
            follow.tick()
        follow.sandbox.log.clear()
        end_ms, ticks = follow.clock.now_ms() + int(hours * 60 * MINUTE_MS), 0
        while follow.clock.now_ms() < end_ms:
            next_ms = follow.clock.now_ms() + period_ms
            follow.tick()
            ticks += 1
            follow.clock.set(max(next_ms, follow.clock.now_ms()))
        log = follow.sandbox.log
        spent = sum(entry.weight for entry in log.entries() if entry.request == "candleSnapshot")
        with database.connection() as connection:
            assert violations(connection) == [], "the ledger does not hold: the figures mean nothing"
        return Steady(markets, hours, ticks, spent, log.max_weight_in(MINUTE_MS), log.refusals())


@dataclass(frozen=True, slots=True)
class _Follower:
    source: HyperliquidRest
    database: Database
    sandbox: RunningSandbox
    clock: ManualClock
    policy: FillPolicy

    def tick(self) -> int:
        """A live tick and, when its queue is due, a drain; the requests of both."""
        report = fill(self.source, self.database, self.clock, self.policy, only=live_slots)
        planned, failures = report.planned, report.failures
        if due_queue(self.database, self.clock.now_ms(), self.policy.proof).requests:
            report = drain(self.source, self.database, self.clock, self.policy)
            planned, failures = planned + report.planned, failures + report.failures
        assert failures == [], failures
        return planned


@contextmanager
def _follower(database: Database, markets: int, period_ms: int) -> Iterator[_Follower]:
    clock = ManualClock(NOON + 20_000)
    world = World(11, markets=first_perps(markets, NOON - 5 * DAY_MS), clock=clock, history_days=1)
    limit = int(EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE)
    budget = PostgresBudget(database, key="steady", max_weight=limit, clock=clock)
    budget.ensure()
    with (
        RunningSandbox(world, limiter=WeightLimiter(LimiterMode.BUCKET, clock)) as sandbox,
        HyperliquidRest(
            sandbox.url,
            budget=budget,
            sleep=lambda seconds: clock.advance(int(seconds * 1000) + 1),
            monotonic=lambda: clock.now_ms() / 1000,
        ) as source,
    ):
        coins = [market.coin for market in world.markets]
        refresh_markets(source, database, clock, coins=coins, intervals=tuple(Interval))
        # one thread: all wait on the same clock
        yield _Follower(source, database, sandbox, clock, FillPolicy(concurrency=1, patience_ms=period_ms))


def main() -> int:
    """Simulate, print one line, exit 1 when a market-day is too dear."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--period-minutes", type=float, default=5.0)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="hl-bench-"))
    try:
        with EmbeddedPostgres(home) as server:
            migrate(server.dsn("postgres"))
            with Database(server.dsn("postgres")) as database:
                found = simulate(database, options.markets, int(options.period_minutes * MINUTE_MS), options.hours)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(
        f"{found.markets} markets, {found.hours:g} h, {found.ticks} ticks of {options.period_minutes:g} min: weight "
        f"{found.weight:,}, {found.market_day:,.0f} a market-day (at most {MOST_A_MARKET_DAY:,}; the naive poller "
        f"spends {NAIVE:,}), {found.share:.0%} of the budget; busiest minute {found.busiest_minute:,}, "
        f"{found.refused} answers of 429"
    )
    return int(found.market_day > MOST_A_MARKET_DAY or found.refused > 0)


if __name__ == "__main__":
    sys.exit(main())
