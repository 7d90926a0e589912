"""Stream and schedule together, with no switch between them: what the stream watched REST only confirms, what it missed
REST asks for, and nothing else. Proven by the requests that the exchange saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hl_pipeline.collect.drain import drain
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.model.tariff import request_weight
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.request_log import LoggedRequest
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations
from hl_pipeline_tests.collect.test_drill import Drill, same
from hl_pipeline_tests.source.talker import until

#: 2026-07-26T12:00:00Z, and twenty seconds into it.
NOON = 1_785_067_200_000
BEGIN = NOON + 20_000
COINS = ("BTC", "ETH")
MARKETS = (MarketSpec("BTC", 64_000, 5, 40), MarketSpec("ETH", 3_100, 4, 25))
HOUR = 60 * MINUTE_MS


@dataclass(slots=True)
class Live:
    """A streamer and a schedule under one clock that a test moves."""

    sandbox: RunningSandbox
    source: HyperliquidRest
    database: Database
    clock: ManualClock
    failures: list[str] = field(default_factory=list)
    _logged: int = 0

    @asynccontextmanager
    async def streaming(self) -> AsyncIterator[Streamer]:
        """The product's streamer; only its flush is quick."""
        streamer = Streamer([self.sandbox.ws_url], self.database, self.clock, StreamPolicy(flush_s=0.01, report_s=0.01))
        stop = asyncio.Event()
        task = asyncio.create_task(streamer.run(stop))
        try:
            await until(lambda: task.done() or self.socket("state") == "connected")
            yield streamer
        finally:
            stop.set()
            await task

    def socket(self, column: str) -> object:
        with self.database.connection() as connection:
            row = connection.execute(b"select to_jsonb(stream)->%s from hl.stream", (column,)).fetchone()
            return None if row is None else row[0]

    def watched_until(self) -> int | None:
        """What the ledger was told last, ms."""
        with self.database.connection() as connection:
            row = connection.execute(
                b"select hl.epoch_ms(min(streamed_until)) from hl.series where interval = '1m'"
            ).fetchone()
            return None if row is None else row[0]

    def seen_until(self) -> int | None:
        """What the stream saw last, ms, whether or not the ledger takes it."""
        with self.database.connection() as connection:
            row = connection.execute(b"select hl.epoch_ms(watched_until) from hl.stream_process").fetchone()
            return None if row is None else row[0]

    async def pass_minute(self, *, watched: bool = True, entered: bool = True) -> None:
        """A minute in steps, until the stream has seen all of it, if it is watched, and the ledger knows, if it may."""
        for _ in range(4):
            self.clock.advance(15_000)
            now = self.clock.now_ms()
            await until(lambda now=now: self.sandbox.sockets.feed.seen_ms >= now or not watched)  # type: ignore[misc]
        if watched:
            edge = Interval.M1.floor(self.clock.now_ms())
            await until(lambda: (self.watched_until() if entered else self.seen_until()) == edge)

    def tick(self) -> list[LoggedRequest]:
        """What the schedule does once a minute; the requests that the exchange saw for it."""
        policy = FillPolicy(concurrency=1)
        self.failures += fill(self.source, self.database, self.clock, policy, only=live_slots).failures
        self.failures += drain(self.source, self.database, self.clock, policy).failures
        entries = self.sandbox.log.entries(self._logged)
        self._logged = entries[-1].number if entries else self._logged
        return [entry for entry in entries if entry.request == "candleSnapshot"]

    def check(self, interval: Interval, begin_ms: int, end_ms: int) -> None:
        """Every slot in ``[begin_ms, end_ms)`` is final and as the exchange has it."""
        drill = Drill(self.sandbox, self.source, self.database, COINS)
        for coin in COINS:
            stored = [found for found in drill.stored(coin, interval) if begin_ms <= found.open_ms < end_ms]
            assert same(stored, self.sandbox.truth.candles(coin, interval, begin_ms, end_ms))
        with self.database.connection() as connection:
            assert violations(connection) == []


@pytest.fixture
def live(database: Database) -> Iterator[Live]:
    """Everything before noon is collected; the stream has not begun."""
    clock = ManualClock(BEGIN)
    world = World(7, markets=MARKETS, clock=clock, history_days=0)
    budget = PostgresBudget(database, key="live", max_weight=1_000_000, clock=clock)
    budget.ensure()
    manners = Manners(QuietMode.DENSE)
    with (
        RunningSandbox(world, limiter=LimiterMode.OFF, manners=manners) as sandbox,
        HyperliquidRest(
            sandbox.url, budget=budget, sleep=lambda seconds: clock.advance(int(1000 * seconds) + 1)
        ) as source,
    ):
        refresh_markets(source, database, clock, coins=COINS, intervals=tuple(Interval))
        live = Live(sandbox, source, database, clock)
        live.tick()
        yield live


def test_with_the_stream_up_the_schedule_only_confirms_each_hour_with_one_read(live: Live) -> None:
    async def run() -> list[LoggedRequest]:
        async with live.streaming():
            await live.pass_minute(watched=False)
            live.tick()  # the minute in which the stream began is REST's
            found: list[LoggedRequest] = []
            for _ in range(75):
                await live.pass_minute()
                found += live.tick()
            return found

    asked = asyncio.run(run())
    live.check(Interval.M1, NOON, NOON + 15 * MINUTE_MS)
    live.check(Interval.M5, NOON, NOON + 15 * MINUTE_MS)
    assert live.failures == []
    assert {entry.interval for entry in asked} == {"1m"}
    # an hour has one period of confirmation a market, at most two begin in 75 minutes
    assert all(1 <= sum(entry.coin == coin for entry in asked) <= 2 for coin in COINS)
    weight = sum(entry.weight for entry in asked)
    most_rows = 5 * 60  # the hour, and what is read again three hours back
    assert weight <= 2 * len(COINS) * request_weight("candleSnapshot", most_rows)


def test_while_the_stream_is_down_the_due_slots_alone_are_asked_for_and_then_nothing_again(live: Live) -> None:
    async def run() -> tuple[int, list[LoggedRequest], list[LoggedRequest], list[LoggedRequest]]:
        async with live.streaming():
            await live.pass_minute(watched=False)
            live.tick()
            healthy = []
            for _ in range(5):
                await live.pass_minute()
                healthy += live.tick()
            down_ms = live.clock.now_ms()
            live.sandbox.faults.add(
                Fault(FaultKind.WS_DROP), Fault(FaultKind.WS_REFUSE, until_ms=down_ms + 5 * MINUTE_MS)
            )
            await until(lambda: live.socket("state") != "connected")
            down = []
            for _ in range(5):
                await live.pass_minute(watched=False)
                down += live.tick()
            await until(lambda: live.socket("state") == "connected")
            await live.pass_minute(watched=False)
            live.tick()
            back = []
            for _ in range(5):
                await live.pass_minute()
                back += live.tick()
            return down_ms, healthy, down, back

    down_ms, healthy, down, back = asyncio.run(run())
    # within these minutes a market's hour may begin, once
    assert all(sum(entry.coin == coin for entry in healthy + back) <= 1 for coin in COINS)
    assert {entry.interval for entry in down} == {"1m"}
    assert len(down) == 5 * len(COINS), "one read a market and minute"
    edges = {Interval.M1.floor(down_ms) + minute * MINUTE_MS for minute in range(1, 6)}
    assert {Interval.M1.floor(entry.end_ms or 0) for entry in down} <= edges | {edge - MINUTE_MS for edge in edges}
    least = request_weight("candleSnapshot", 60)  # up to sixty rows cost no more than one
    assert {entry.weight for entry in down} == {least}
    assert live.failures == []


def test_after_an_outage_of_both_faces_all_ends_final_and_true(live: Live) -> None:
    async def run() -> None:
        async with live.streaming():
            await live.pass_minute(watched=False)
            live.tick()
            for _ in range(3):
                await live.pass_minute()
                live.tick()
            now_ms = live.clock.now_ms()
            live.sandbox.faults.dead(now_ms, now_ms + 5 * MINUTE_MS)
            await until(lambda: live.socket("state") != "connected")
            for _ in range(5):
                await live.pass_minute(watched=False)
                live.tick()
            assert live.failures, "the outage was to be noticed"
            await until(lambda: live.socket("state") == "connected")
            for minute in range(75):
                live.tick()
                # what failed is asked again after some minutes; until then the ledger waits for REST
                await live.pass_minute(watched=minute > 1, entered=minute > 10)

    asyncio.run(run())
    live.check(Interval.M1, NOON, NOON + 15 * MINUTE_MS)
    live.check(Interval.M15, NOON, NOON + 15 * MINUTE_MS)
