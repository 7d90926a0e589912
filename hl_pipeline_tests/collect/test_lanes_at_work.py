"""Two back-fills and the live edge at once, through the real budget, client and a sandbox that enforces its limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hl_pipeline.collect.backfill import backfill
from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.collect.virtual_time import PatientSource, VirtualTime
from hl_pipeline_tests.fakes import FakeExchange, market

#: 2026-01-10T12:00:20Z
NOW = 1_768_046_420_000
MINUTE = 60_000
#: A quarter of the real limit: as long a queue with a quarter of the rows.
LIMIT = 300
LIVE = ("BTC", "ETH")
FIRST = ("SOL", "ARB", "OP", "LTC")
SECOND = ("DOGE", "AVAX", "LINK", "kPEPE")
BACKFILLED = (Interval.M15, Interval.H1)
WINDOW = Span(NOW - 200 * 86_400_000, NOW)


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime(NOW)


@pytest.fixture
def sandbox(time: VirtualTime) -> Iterator[RunningSandbox]:
    world = World(11, markets=markets_named(*LIVE, *FIRST, *SECOND), clock=time)
    limiter = WeightLimiter(LimiterMode.BUCKET, clock=time, per_minute=LIMIT)
    with RunningSandbox(world, limiter=limiter) as running:
        yield running


def track(database: Database, time: VirtualTime) -> None:
    """All of them, at the intervals of the test."""
    coins = (*LIVE, *FIRST, *SECOND)
    offered = FakeExchange(time, markets=[market(coin) for coin in coins])
    refresh_markets(offered, database, time, coins=coins, intervals=(Interval.M1, *BACKFILLED))


class Line:
    """A client of its own, as each run has, on the one budget."""

    def __init__(self, database: Database, sandbox: RunningSandbox, time: VirtualTime) -> None:
        self.database, self.time = database, time
        self.budget = PostgresBudget(database, "test", LIMIT - 9, clock=time)
        self.budget.ensure()
        self.rest = HyperliquidRest(sandbox.url, budget=self.budget, sleep=time.sleep, monotonic=time.monotonic)
        self.source = PatientSource(self.rest, time)

    def back_fill(self, coins: tuple[str, ...]) -> FillReport:
        policy = FillPolicy(lane=Lane.BACKFILL)
        return backfill(self.source, self.database, self.time, policy, coins=coins, intervals=BACKFILLED, window=WINDOW)

    def tick(self) -> FillReport:
        policy = FillPolicy(lane=Lane.LIVE)
        return fill(self.source, self.database, self.time, policy, coins=LIVE, intervals=(Interval.M1,))

    def tick_until(self, over: threading.Event) -> list[FillReport]:
        """A collection each minute, twenty seconds past it."""
        made: list[FillReport] = []
        while not over.is_set():
            made.append(self.tick())
            with self.time.working():
                self.time.sleep(60 - self.time.now_ms() % MINUTE / 1000 + 20)
        return made


@pytest.fixture
def lines(database: Database, sandbox: RunningSandbox, time: VirtualTime) -> Iterator[list[Line]]:
    """For the live edge and two back-fills."""
    made = [Line(database, sandbox, time) for _ in range(3)]
    yield made
    for line in made:
        line.rest.close()


def test_live_keeps_its_minute_while_two_back_fills_run_and_no_window_is_overspent(
    database: Database, sandbox: RunningSandbox, time: VirtualTime, lines: list[Line]
) -> None:
    track(database, time)
    live, one, two = lines
    live.tick()  # the first reading of a series is a large one, and not what is measured
    over = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        ticks = pool.submit(live.tick_until, over)
        filled = [pool.submit(one.back_fill, FIRST), pool.submit(two.back_fill, SECOND)]
        try:
            reports = [future.result(timeout=200) for future in filled]
        finally:
            over.set()
        collected = ticks.result(timeout=60)
    assert [(report.landed, report.skipped, report.failures) for report in reports] == [(8, 0, [])] * 2
    assert sandbox.log.max_weight_in(MINUTE) <= LIMIT
    assert sandbox.log.refusals() == 0
    assert len(collected) >= 4, "it took minutes"
    assert all(not report.failures and not report.skipped for report in collected)
    # in the first minute the back-fills had borrowed the whole budget
    waits = [waited for began, _, waited in live.source.waited_ms if began >= NOW + 2 * MINUTE]
    patience = [waited for line in (one, two) for _, _, waited in line.source.waited_ms]
    assert max(waits) < MINUTE / 2
    assert sorted(waits)[len(waits) // 2] < sorted(patience)[len(patience) // 2] / 4
