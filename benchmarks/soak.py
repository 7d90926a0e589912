"""``python -m benchmarks.soak``: half an hour of a stream whose exchange misbehaves by a seeded plan, then a calm.

Two endpoints with one truth, a Streamer, the schedule's ticks and drains, one weight budget, one clock. In the calm all
that closed before it is confirmed; then every candle of all six intervals is held against the sandbox's truth.
Exit code 1 when anything is lost, twice, wrong or unsettled, or a limit was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.soak_clock import PacedClock
from benchmarks.soak_judge import Freshness, Judgement, judge, open_slots
from benchmarks.soak_plan import Kind, Plan, draw
from hl_pipeline.collect.drain import drain, due_queue
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.probe import probe_endpoints
from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.collect.stream_writer import memory_bytes
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.ledger import SeriesState
from hl_pipeline.model.span import SpanSet
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE
from hl_pipeline.runtime import BUDGET_SHARE
from hl_pipeline.sandbox.catalogue import DAY_MS, first_perps
from hl_pipeline.sandbox.faults import FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.stream import StreamTiming
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate

MIDNIGHT = 1_785_110_400_000  # 2026-07-27T00:00:00Z
ENDPOINTS = 2
#: All of the calm must be settled by then; a minute that is published late and read too early takes two hours.
_LONGEST_CALM_MS = 200 * MINUTE_MS
#: The slow consumer's writer stands still for so long, in market time.
_HELD_UP_MS = 8_000
_HOLD_UP = (Path(__file__).parent / "sql" / "soak_hold_up.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Options:
    """A soak's size. With ``calm_speed`` 0 the stream ends with the faults, and the clock jumps from tick to tick."""

    markets: int = 230
    minutes: float = 30.0
    speed: float = 1.0
    seed: int = 1
    calm_speed: float = 20.0


@dataclass(slots=True)
class Soak:
    """One soak under way."""

    options: Options
    database: Database
    clock: PacedClock
    plan: Plan
    sandboxes: list[RunningSandbox]
    source: HyperliquidRest
    endpoints: PostgresEndpoints
    freshness: Freshness
    policy: FillPolicy = field(default_factory=FillPolicy)
    ticks: int = 0
    failures: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def run(self) -> None:
        """The faults, then the calm."""
        speed = self.options.speed
        self.clock.run_at(speed)
        with self.freshness.watching(self.database, self.clock):
            asyncio.run(self._stream())
        if not self.options.calm_speed:
            self._calm_without_stream()

    def judge(self) -> Judgement:
        """What came of it; times are held only when they were real and the stream stayed up."""
        is_timed = self.options.speed == 1 and self.options.calm_speed > 0
        return judge(self.database, self.plan, self.sandboxes, self.freshness, is_timed=is_timed)

    async def _stream(self) -> None:
        streamer = Streamer(
            [sandbox.ws_url for sandbox in self.sandboxes],
            self.database,
            self.clock,
            stream_policy(self.options.speed),
            repair=self._repair,
        )
        stop, schedule_ends = asyncio.Event(), threading.Event()
        following = asyncio.create_task(streamer.run(stop))
        schedule = asyncio.create_task(asyncio.to_thread(self._schedule, schedule_ends))
        holding = asyncio.create_task(asyncio.to_thread(self._hold_up_the_writer))
        try:
            for tenth in range(1, 11):
                await self._until(self.plan.begin_ms + (self.plan.end_ms - self.plan.begin_ms) * tenth // 10, following)
                self.memory.append(memory_bytes())
            self.freshness.stop()
            await holding
            if self.options.calm_speed:
                await self._calm(following)
        finally:
            schedule_ends.set()
            stop.set()
            await asyncio.gather(following, schedule)

    async def _until(self, at_ms: int, following: asyncio.Task[None]) -> None:
        while self.clock.now_ms() < at_ms:
            if following.done():
                following.result()
            await asyncio.sleep(0.05)

    async def _calm(self, following: asyncio.Task[None]) -> None:
        """Nothing is wrong any more, the stream goes on, and time runs faster until all is settled."""
        self.clock.run_at(max(self.options.calm_speed, self.options.speed))
        while self.clock.now_ms() < self.plan.end_ms + _LONGEST_CALM_MS:
            await self._until(self.clock.now_ms() + 5 * MINUTE_MS, following)
            left = await asyncio.to_thread(open_slots, self.database, self.plan.end_ms)
            print(
                f"calm, {(self.clock.now_ms() - self.plan.end_ms) / MINUTE_MS:.0f} min: {left} slots open",
                file=sys.stderr,
            )
            if not left:
                return

    def _calm_without_stream(self) -> None:
        self.clock.run_at(0)
        self.policy = FillPolicy(concurrency=1)  # all wait on the same clock
        while open_slots(self.database, self.plan.end_ms):
            if self.clock.now_ms() >= self.plan.end_ms + _LONGEST_CALM_MS:
                return
            self._tick()
            self.clock.advance(4 * MINUTE_MS)

    # the schedule

    def _schedule(self, ends: threading.Event) -> None:
        """A tick a minute, later when one takes longer, and a look at the endpoints each half minute."""
        next_ms = self.clock.now_ms()
        while not ends.wait(0.02):
            if self.clock.now_ms() < next_ms:
                continue
            next_ms = Interval.M1.floor(self.clock.now_ms()) + MINUTE_MS
            try:
                self._tick()
            except (DatabaseUnavailable, psycopg.errors.LockNotAvailable) as error:
                self.failures.append(str(error))

    def _tick(self) -> None:
        self.ticks += 1
        probe_endpoints(self.source, self.database, self.clock, self.endpoints)
        report = fill(self.source, self.database, self.clock, self.policy, only=live_slots)
        self.failures += report.failures
        if due_queue(self.database, self.clock.now_ms(), self.policy.proof).requests:
            self.failures += drain(self.source, self.database, self.clock, self.policy).failures

    def _repair(self, coins: Collection[str]) -> None:
        report = fill(
            self.source, self.database, self.clock, self.policy, coins=coins, intervals=(Interval.M1,), only=_known
        )
        self.failures += report.failures

    def _hold_up_the_writer(self) -> None:
        for trouble in self.plan.troubles:
            if trouble.kind is not Kind.SLOW_CONSUMER:
                continue
            while self.clock.now_ms() < trouble.since_ms:
                time.sleep(0.02)
            with self.database.connection() as connection:
                connection.execute(_HOLD_UP.encode())
                self.clock.sleep(min(_HELD_UP_MS, trouble.until_ms - trouble.since_ms) / 1000)


def _known(state: SeriesState, now_ms: int) -> SpanSet:
    return live_slots(state, now_ms) if state.has_history else SpanSet()


def stream_policy(speed: float) -> StreamPolicy:
    """The product's own, its real seconds shortened like market time."""
    return StreamPolicy(timing=StreamTiming().faster(speed), flush_s=0.25 / speed, report_s=max(2.0 / speed, 0.2))


def soak(database: Database, options: Options) -> Judgement:
    """Collect the past, soak, and judge. The database must be migrated and empty."""
    with _prepared(database, options) as prepared:
        prepared.run()
        return prepared.judge()


@contextmanager
def _prepared(database: Database, options: Options) -> Iterator[Soak]:
    """Everything stands, the clock does too, and the past is collected."""
    length = int(options.minutes * MINUTE_MS)
    # all six intervals close on the way
    begin_ms = Interval.M1.floor(MIDNIGHT - length * 2 // 3) + 20_000
    clock = PacedClock(begin_ms)
    markets = first_perps(options.markets, MIDNIGHT - 5 * DAY_MS)
    plan = draw(options.seed, begin_ms, begin_ms + length, [market.coin for market in markets], ENDPOINTS)
    world = World(options.seed, markets=markets, clock=clock, history_days=0)
    limiter = WeightLimiter(LimiterMode.BUCKET, clock)
    with ExitStack() as stack:
        sandboxes = [
            stack.enter_context(RunningSandbox(world, limiter=WeightLimiter(LimiterMode.OFF))) for _ in range(ENDPOINTS)
        ]
        _collect_the_past(sandboxes[0], database, clock, [market.coin for market in markets])
        for number, sandbox in enumerate(sandboxes):
            sandbox.log.clear()
            sandbox.exchange.limiter = limiter  # the exchange counts by address, whichever way it is asked
            sandbox.exchange.faults = FaultPlan(options.seed, plan.of_endpoint(number))
        urls = [sandbox.url for sandbox in sandboxes]
        endpoints = PostgresEndpoints(database, clock=clock)
        endpoints.ensure(urls)
        budget = PostgresBudget(database, "soak", int(EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE), clock=clock)
        budget.ensure()
        pace = max(1.0, options.speed, options.calm_speed)  # a request takes real time
        source = stack.enter_context(
            HyperliquidRest(
                urls,
                budget=budget,
                registry=endpoints,
                deadline_s=15.0 * pace,
                sleep=clock.sleep,
                monotonic=clock.monotonic,
            )
        )
        freshness = Freshness(options.speed)
        yield Soak(options, database, clock, plan, sandboxes, source, endpoints, freshness)


def _collect_the_past(sandbox: RunningSandbox, database: Database, clock: PacedClock, coins: list[str]) -> None:
    budget = PostgresBudget(database, "past", 1_000_000_000, clock=clock)
    budget.ensure()
    with HyperliquidRest(sandbox.url, budget=budget) as source:
        refresh_markets(source, database, clock, coins=coins, intervals=tuple(Interval))
        report = fill(source, database, clock, FillPolicy(concurrency=2))
    print(f"the past: {report.planned} requests, {report.inserted:,} candles", file=sys.stderr)
    assert report.failures == [], report.failures


def main() -> int:
    """Soak, print seed, plan and figures, exit 1 when something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=230)
    parser.add_argument("--minutes", type=float, default=30.0, help="of market time")
    parser.add_argument("--speed", type=float, default=1.0, help="market time per real time while faults are played")
    parser.add_argument(
        "--calm-speed", type=float, default=20.0, help="the same in the calm; 0: no stream, ticks in jumps"
    )
    parser.add_argument("--seed", type=int, default=1)
    found = parser.parse_args()
    options = Options(found.markets, found.minutes, found.speed, found.seed, found.calm_speed)
    home = Path(tempfile.mkdtemp(prefix="hl-soak-"))
    try:
        with EmbeddedPostgres(home) as server:
            migrate(server.dsn("postgres"))
            with (
                Database(server.dsn("postgres"), max_connections=16) as database,
                _prepared(database, options) as prepared,
            ):
                print(f"seed {options.seed}, {options}", *prepared.plan.lines, sep="\n", flush=True)
                began = time.monotonic()
                prepared.run()
                judgement = prepared.judge()
                _report(prepared, judgement, time.monotonic() - began)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return int(bool(judgement.wrongs))


def _report(done: Soak, judgement: Judgement, seconds: float) -> None:
    print(
        f"\n{seconds:.0f} s, {done.ticks} ticks, {len(done.failures)} requests failed for good",
        *judgement.lines,
        sep="\n",
    )
    memory = ", ".join(f"{held / 1e6:.0f}" for held in done.memory)
    print(f"memory after each tenth, MB (one process with stream, ticks and both sandboxes): {memory}")
    print(*([f"WRONG: {wrong}" for wrong in judgement.wrongs] or ["nothing is lost, twice or wrong"]), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
