"""``python -m benchmarks.steady_state``: what a day costs in weight, on a simulated clock.

Ticks and drains run as the schedule and the sensor start them, over HTTP against
the sandbox; only the clock is moved by hand. Waiting for the weight budget moves it too.
With ``--stream`` each minute's candles are written as the live stream writes them, without
its sockets, and the ticks come each minute.
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
from hl_pipeline.collect.stream_writer import StreamWriter
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.model.live import LiveCandle
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE, request_weight
from hl_pipeline.runtime import BUDGET_SHARE, collect_period_ms
from hl_pipeline.sandbox.catalogue import first_perps
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.settings import Settings
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.markets import Cadence
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.series import violations

DAY_MS = 1440 * MINUTE_MS
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
NAIVE = 288 * len(Interval) * request_weight("candleSnapshot", 100)
_SQL = Path(__file__).with_name("sql")
_LANES, _FINAL_AFTER = _SQL / "weight_by_lane.sql", _SQL / "final_after.sql"
#: With the stream up a candle is confirmed within the hour, once it has settled, by the next tick.
MOST_UNTIL_FINAL_S = 60 * 60 + 10 + 60
#: The first collection is over when a tick takes no longer than its period; with many markets that takes some ticks.
MOST_FIRST_TICKS = 40
#: What a market-day may cost while the stream shows the live edge: a sixtieth of the naive poller.
MOST_STREAMED = NAIVE // 60
#: All but the floors of the gap and the back-fill lane.
LIVE_PERCENT = 85
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
    late_ticks: int
    by_lane: dict[str, float]
    until_final_s: tuple[float, float, int]

    @property
    def market_day(self) -> float:
        """Weight a market and day."""
        return self.weight / self.markets / (self.hours / 24)

    @property
    def lanes(self) -> str:
        """Weight a minute that each lane spent, candles alone."""
        return ", ".join(f"{lane} {weight:,.0f}" for lane, weight in sorted(self.by_lane.items()))

    @property
    def share(self) -> float:
        """Share of our budget that it takes, 0 to 1."""
        return self.weight / (self.hours * 60) / (EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE)


def simulate(database: Database, markets: int, period_ms: int, hours: float, *, streamed: bool = False) -> Steady:
    """Collect a market's first day, then follow it for ``hours`` in ticks ``period_ms`` apart."""
    with _follower(database, markets) as follow:
        follow.collect_first(MINUTE_MS * 10 if streamed else period_ms)
        if streamed:
            follow.begin_stream()
            for _ in range(75):  # each series' first hour: until then it is read as if there were no stream
                follow.tick_at(follow.clock.now_ms() + period_ms)
        follow.sandbox.log.clear()
        begin_ms = follow.clock.now_ms()
        end_ms, ticks, late = begin_ms + int(hours * 60 * MINUTE_MS), 0, 0
        while follow.clock.now_ms() < end_ms:
            next_ms = follow.clock.now_ms() + period_ms
            late += not follow.tick_at(next_ms)
            ticks += 1
        log = follow.sandbox.log
        spent = sum(entry.weight for entry in log.entries() if entry.request == "candleSnapshot")
        with database.connection() as connection:
            assert violations(connection) == [], "the ledger does not hold: the figures mean nothing"
            minutes = (follow.clock.now_ms() - begin_ms) / MINUTE_MS
            rows = connection.execute(_LANES.read_text(encoding="utf-8"), {"since": to_datetime(begin_ms)})
            by_lane = {lane: float(weight) / minutes for lane, weight in rows}
            span = {
                "starts": to_datetime(begin_ms),
                "ends": to_datetime(end_ms - 1000 * MOST_UNTIL_FINAL_S - MINUTE_MS),
            }
            final = connection.execute(_FINAL_AFTER.read_text(encoding="utf-8"), span).fetchone()
        busiest, refused = log.max_weight_in(MINUTE_MS), log.refusals()
        return Steady(markets, hours, ticks, spent, busiest, refused, late, by_lane, final or (0.0, 0.0, 0))


@dataclass(slots=True)
class _Follower:
    source: HyperliquidRest
    database: Database
    sandbox: RunningSandbox
    clock: ManualClock
    policy: FillPolicy
    _writer: StreamWriter | None = None
    _since_ms: int = 0
    _until_ms: int = 0

    def begin_stream(self) -> None:
        """From the next whole minute on every minute is streamed."""
        self._writer = StreamWriter(self.database, self.clock, self.policy.proof)
        self._since_ms = self._until_ms = Interval.M1.ceil(self.clock.now_ms())

    def tick_at(self, next_ms: int) -> bool:
        """A tick, then the minutes up to ``next_ms`` or to when the tick ended; true if that was in time."""
        self.tick()
        in_time = self.clock.now_ms() <= next_ms
        self.clock.set(max(next_ms, self.clock.now_ms()))
        if self._writer is not None:
            self._stream(self._writer, Interval.M1.floor(self.clock.now_ms()))
        return in_time

    def _stream(self, writer: StreamWriter, until_ms: int) -> None:
        writer.load()
        for start_ms in range(self._until_ms, until_ms, MINUTE_MS):
            batch = [
                LiveCandle(coin, candle, True)
                for coin in writer.series_ids
                for candle in self.sandbox.truth.candles(coin, Interval.M1, start_ms, start_ms + MINUTE_MS)
                if candle.trades
            ]
            writer.land(batch, [], start_ms + MINUTE_MS, self.sandbox.url)
            writer.enter(
                list(writer.series_ids), self._since_ms, start_ms + MINUTE_MS, self._until_ms, self.sandbox.url
            )
            self._until_ms = start_ms + MINUTE_MS

    def collect_first(self, period_ms: int) -> None:
        """Bring the first day home, and the minutes that passed meanwhile."""
        for _ in range(MOST_FIRST_TICKS):
            began_ms = self.clock.now_ms()
            planned = self.tick()
            took_ms = self.clock.now_ms() - began_ms
            print(f"first collection: {planned} requests in {took_ms / MINUTE_MS:.1f} min", file=sys.stderr)
            if took_ms <= period_ms:
                return
        raise RuntimeError(f"after {MOST_FIRST_TICKS} ticks one still takes longer than its period: it is too short")

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
def _follower(database: Database, markets: int) -> Iterator[_Follower]:
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
        yield _Follower(source, database, sandbox, clock, FillPolicy(concurrency=1))


def main() -> int:
    """Simulate, print one line, exit 1 when a market-day is too dear."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--period-minutes", type=float, default=5.0, help="0: the one that the pipeline chooses")
    parser.add_argument("--stream", action="store_true", help="with the stream up, in ticks of a minute")
    options = parser.parse_args()
    chosen_ms = collect_period_ms(Settings(), Cadence(options.markets, LIVE_PERCENT))
    period_ms = MINUTE_MS if options.stream else int(options.period_minutes * MINUTE_MS) or chosen_ms
    most = MOST_STREAMED if options.stream else MOST_A_MARKET_DAY
    home = Path(tempfile.mkdtemp(prefix="hl-bench-"))
    try:
        with EmbeddedPostgres(home) as server:
            migrate(server.dsn("postgres"))
            with Database(server.dsn("postgres")) as database:
                found = simulate(database, options.markets, period_ms, options.hours, streamed=options.stream)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    share = EXCHANGE_WEIGHT_PER_MINUTE * BUDGET_SHARE * LIVE_PERCENT / 100
    print(
        f"{found.markets} markets, {found.hours:g} h, {found.ticks} ticks of {period_ms / MINUTE_MS:g} min "
        f"({found.late_ticks} took longer): weight "
        f"{found.weight:,}, {found.market_day:,.0f} a market-day (at most {most:,}; the naive poller "
        f"spends {NAIVE:,}), {found.share:.1%} of the budget; busiest minute {found.busiest_minute:,}, "
        f"{found.refused} answers of 429; weight a minute by lane: {found.lanes} (the live lane's share: {share:.0f})"
    )
    is_late = False
    if options.stream:
        latest, median, missing = found.until_final_s
        print(
            f"traded 1m candles were final {median / 60:.1f} min after their close in the median, {latest / 60:.2f} at "
            f"most (promised: {MOST_UNTIL_FINAL_S / 60:.2f}), {missing} are not"
        )
        is_late = latest > MOST_UNTIL_FINAL_S or missing > 0
    return int(found.market_day > most or found.refused > 0 or found.by_lane.get("live", 0) > share or is_late)


if __name__ == "__main__":
    sys.exit(main())
