"""Follow the live stream: frames -> buffer -> batches -> provisional candles, watched minutes, quotes.

The event loop only receives; one thread writes, in order. What the stream watched without a break waits in the
ledger for its hourly confirmation; whatever else is due REST asks for, as if there were no stream: so a stall or a lost
connection needs no switch. A market's frames all come over one socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hl_pipeline.collect.stream_writer import StreamStats, StreamWriter, memory_bytes
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import DatabaseUnavailable, TryAgain
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.live import LiveBuffer, LiveCandle, Watch
from hl_pipeline.model.market import MarketContext
from hl_pipeline.source.frames import CandleFrame, ContextFrame, Frame, Subscription
from hl_pipeline.source.stream import MOST_MESSAGES, Allowance, StreamSocket, StreamTiming
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.place import Place
from hl_pipeline.storage.stream import ProcessState, only_one, waiting_for

_LOG = logging.getLogger(__name__)
#: The exchange allows 1000 subscriptions an address; a socket was seen to bear 356.
SUBSCRIPTIONS_A_SOCKET = 500
#: A frame is about the minute under way or one just over, by our clock; anything else is a lie, or REST's to read.
_BEHIND_MS = 10 * MINUTE_MS
_AHEAD_MS = MINUTE_MS

#: Asks REST for what is missing of these markets; runs in a thread of its own.
Repair = Callable[[Collection[str]], object]


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How the stream is landed. ``*_s`` in real seconds, ``*_ms`` in market time.

    ``grace_ms``: so long after a minute's end the last of its frames may come. ``silence_ms``: a market that shows
    nothing for so long, while its socket speaks, counts as not watched. ``open_every_ms``: an open candle is
    stored at most so often. ``public_only``: hosts must lead to addresses of the public
    internet. ``flush_s`` is the writer's pace, ``report_s`` that of its state.
    """

    proof: ProofPolicy = field(default_factory=ProofPolicy)
    timing: StreamTiming = field(default_factory=StreamTiming)
    grace_ms: int = 1_000
    silence_ms: int = 3 * MINUTE_MS
    open_every_ms: int = 5_000
    flush_s: float = 0.25
    report_s: float = 2.0
    contexts_every_ms: int = MINUTE_MS
    most_waiting: int = 100_000
    connects_a_minute: int = 12
    public_only: bool = False


@dataclass(slots=True)
class _Line:
    """One socket, the markets it follows, since when it watches them and up to where the ledger was told."""

    socket: StreamSocket
    coins: list[str]
    watch: Watch = field(default_factory=Watch)
    entered_ms: int = 0
    lag_ms: float | None = None
    minute: int = 0
    frames: int = 0
    frames_before: int = 0

    def count(self, now_ms: int) -> None:
        """One more frame of this minute."""
        minute = now_ms // MINUTE_MS
        if minute != self.minute:
            self.frames_before = self.frames if minute == self.minute + 1 else 0
            self.minute, self.frames = minute, 0
        self.frames += 1


class Streamer:
    """Follows every tracked market at the first of ``urls`` that works. Lives in one event loop."""

    def __init__(
        self,
        urls: Sequence[str],
        database: Database,
        clock: Clock,
        policy: StreamPolicy | None = None,
        *,
        repair: Repair | None = None,
    ) -> None:
        self.policy = policy or StreamPolicy()
        self._urls, self._database, self._clock, self._repair = urls, database, clock, repair
        self._writer = StreamWriter(database, clock, self.policy.proof)
        self._buffer = LiveBuffer(
            grace_ms=self.policy.grace_ms,
            open_every_ms=self.policy.open_every_ms,
            most=self.policy.most_waiting,
        )
        self._contexts: dict[str, MarketContext] = {}
        self._quoted_ms = 0
        self._lines: list[_Line] = []
        window = self.policy.timing.connects_window
        self._connections = Allowance(self.policy.connects_a_minute, window=window)
        self._messages = Allowance(MOST_MESSAGES, window=window)
        self._joined_ms: dict[str, int] = {}
        self._heard_ms: dict[str, int] = {}
        self._silent: set[str] = set()
        self._followed_ms = clock.now_ms()
        self._started_ms = clock.now_ms()
        self._stopped_ms: int | None = None
        self._to_repair: set[str] = set()
        self._repair_at_ms = 0

    @property
    def stats(self) -> StreamStats:
        """What was done so far."""
        return self._writer.stats

    @property
    def connects(self) -> int:
        """How many connections were begun so far."""
        return sum(line.socket.status.connects for line in self._lines)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop``; then land what waits, and say that it has ended.

        Raises:
            AlreadyRunning: another process streams into this database.
            DatabaseUnavailable: at the start; later it waits for the database.
        """
        with (
            only_one(self._database) as place,
            ThreadPoolExecutor(1, "stream-write") as thread,
            ThreadPoolExecutor(1, "stream-repair") as repairer,
        ):
            self._writer.load()
            self._open_lines()
            work = [line.socket.run() for line in self._lines]
            work += [self._write_loop(thread, place), self._repair_loop(repairer)]
            tasks = [asyncio.create_task(part) for part in work]
            waiting = asyncio.create_task(stop.wait())
            try:
                done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in done - {waiting}:
                    task.result()  # none of them ends by itself but by an error
            finally:
                for task in (waiting, *tasks):
                    task.cancel()
                await asyncio.gather(waiting, *tasks, return_exceptions=True)
                await asyncio.get_running_loop().run_in_executor(thread, self._finish)

    # what the sockets call, in the event loop

    def on_frame(self, socket: int, frame: Frame, now_ms: int) -> None:
        """Keep a frame for the writer; never waits."""
        line = self._lines[socket]
        if isinstance(frame, CandleFrame):
            if frame.coin not in self._writer.series_ids:
                return
            last_ms, open_ms = line.watch.data_ms, frame.candle.open_ms
            if not now_ms - _BEHIND_MS <= open_ms <= now_ms + _AHEAD_MS:
                line.socket.status.rejected += 1
                return
            if last_ms is not None and last_ms < open_ms <= now_ms:
                line.lag_ms = float(now_ms - open_ms)
            if not self._buffer.put(frame.coin, frame.candle):
                line.watch.start_over(now_ms)
            self._hear(frame.coin, now_ms)
        elif isinstance(frame, ContextFrame):
            self._contexts[frame.context.coin] = frame.context
            self._hear(frame.context.coin, now_ms)
        line.watch.data(now_ms)
        line.count(now_ms)

    def on_connected(self, socket: int, now_ms: int) -> None:
        """Watch from the next whole minute on, or go on watching; what lies before is REST's to read."""
        line = self._lines[socket]
        if line.watch.begin(now_ms) and line.watch.since_ms is not None:
            self._to_repair |= set(line.coins)
            self._repair_at_ms = line.watch.since_ms + self.policy.proof.settle_ms

    def on_broken(self, socket: int, now_ms: int) -> None:
        """What the connection showed counts up to its last frame."""
        self._lines[socket].watch.break_off(now_ms)

    def _hear(self, coin: str, now_ms: int) -> None:
        """A market speaks; of one that was silent, nothing of the minute under way may be relied on."""
        self._heard_ms[coin] = now_ms
        if coin in self._silent:
            self._silent.discard(coin)
            self._joined_ms[coin] = Interval.M1.ceil(now_ms)

    # what is followed

    def _open_lines(self) -> None:
        coins = list(self._writer.series_ids)
        shares = max(1, -(-(2 * len(coins) + 1) // SUBSCRIPTIONS_A_SOCKET))
        for number in range(shares):
            mine = coins[number::shares]
            socket = StreamSocket(
                number,
                self._urls,
                _subscriptions(mine),
                self,
                self._clock,
                self._connections,
                self.policy.timing,
                messages=self._messages,
                public_only=self.policy.public_only,
            )
            self._lines.append(_Line(socket, mine))
        numbers = {"markets": len(coins), "sockets": len(self._lines)}
        _LOG.info("following %(markets)d markets over %(sockets)d sockets", numbers, extra=numbers)

    async def _follow_changes(self, thread: ThreadPoolExecutor) -> None:
        """Markets that begin or end to be tracked are followed or given up; a new one goes to the shortest line."""
        before = set(self._writer.series_ids)
        await asyncio.get_running_loop().run_in_executor(thread, self._writer.load)
        now = set(self._writer.series_ids)
        if now == before:
            return
        for line in self._lines:
            line.coins = [coin for coin in line.coins if coin in now]
        # of a new market nothing can be known before the minute that begins after it is subscribed
        joined_ms = Interval.M1.ceil(self._clock.now_ms()) + MINUTE_MS
        self._joined_ms = {coin: at_ms for coin, at_ms in self._joined_ms.items() if coin in now}
        self._silent &= now
        for coin in sorted(now - before):
            self._joined_ms[coin] = joined_ms
            min(self._lines, key=lambda line: len(line.coins)).coins.append(coin)
        for line in self._lines:
            line.socket.want(_subscriptions(line.coins))

    # what is written

    async def _write_loop(self, thread: ThreadPoolExecutor, place: Place) -> None:
        loop = asyncio.get_running_loop()
        reported = 0.0
        while True:
            await asyncio.sleep(self.policy.flush_s)
            now_ms = self._clock.now_ms()
            batch, quotes = self._buffer.take(now_ms), self._quotes_due(now_ms)
            try:
                await loop.run_in_executor(thread, self._writer.land, batch, quotes, now_ms, self._endpoint)
                batch = []
                await self._mark(thread, now_ms)
                if now_ms - self._followed_ms >= MINUTE_MS:
                    self._followed_ms = now_ms
                    await self._follow_changes(thread)
                if loop.time() - reported >= self.policy.report_s:
                    reported = loop.time()
                    await loop.run_in_executor(thread, place.hold)
                    await loop.run_in_executor(thread, self._report)
            except DatabaseUnavailable as error:
                self.stats.database_failures += 1
                _LOG.warning("the stream's candles wait: %s", error)
                self._hold_on(batch, now_ms)
                await asyncio.sleep(4 * self.policy.flush_s)

    def _hold_on(self, batch: list[LiveCandle], now_ms: int) -> None:
        if not self._buffer.give_back(batch):
            for line in self._lines:
                line.watch.start_over(now_ms)

    def _quotes_due(self, now_ms: int) -> list[MarketContext]:
        """The newest quotes, once a while; those that cannot be landed are not kept, newer ones come."""
        if not self._contexts or now_ms - self._quoted_ms < self.policy.contexts_every_ms:
            return []
        self._quoted_ms = now_ms
        quotes, self._contexts = list(self._contexts.values()), {}
        return quotes

    @property
    def _endpoint(self) -> str:
        return self._lines[0].socket.status.url

    async def _mark(self, thread: ThreadPoolExecutor, now_ms: int) -> None:
        """Enter how far each line has watched, once a frame has shown that the minute before was whole."""
        if now_ms < Interval.M1.floor(now_ms) + self.policy.grace_ms:
            return
        for line in self._lines:
            since_ms, until_ms = line.watch.since_ms, line.watch.until_ms
            if since_ms is None or until_ms is None or until_ms <= line.entered_ms:
                continue
            coins_by_since: defaultdict[int, list[str]] = defaultdict(list)
            for coin in line.coins:
                self._judge_silence(coin, max(since_ms, self._joined_ms.get(coin, 0)), until_ms)
                coins_by_since[max(since_ms, self._joined_ms.get(coin, 0))].append(coin)
            for own_since_ms, coins in coins_by_since.items():
                if own_since_ms < until_ms:
                    told = (coins, own_since_ms, until_ms, line.entered_ms, line.socket.status.url)
                    await asyncio.get_running_loop().run_in_executor(thread, self._writer.enter, *told)
            line.entered_ms = until_ms

    def _judge_silence(self, coin: str, since_ms: int, until_ms: int) -> None:
        """Quotes come for quiet markets, too: one without either has fallen off, and REST has to read it."""
        if until_ms - max(self._heard_ms.get(coin, 0), since_ms) <= self.policy.silence_ms:
            return
        if coin not in self._silent:
            _LOG.warning("nothing of %s comes over the stream; it is read by the schedule until it does", coin)
            self._silent.add(coin)
            self.stats.silent_markets += 1
        self._joined_ms[coin] = until_ms

    # what was missed

    async def _repair_loop(self, repairer: ThreadPoolExecutor) -> None:
        """After a connection that missed minutes: ask REST for them as soon as they have settled."""
        while True:
            await asyncio.sleep(self.policy.flush_s)
            if self._repair is None or not self._to_repair or self._clock.now_ms() < self._repair_at_ms:
                continue
            coins, self._to_repair = sorted(self._to_repair), set()
            self.stats.repairs += 1
            try:
                await asyncio.get_running_loop().run_in_executor(repairer, self._read_missed, self._repair, coins)
            except TryAgain as error:
                _LOG.warning("the scheduled collection will read what the stream missed: %s", error)

    def _read_missed(self, repair: Repair, coins: Collection[str]) -> None:
        with waiting_for(self._database):
            repair(coins)

    # what is said

    def _finish(self) -> None:
        """Land everything that waits and say that the stream has ended; the minute under way stays open."""
        now_ms = self._clock.now_ms()
        self._stopped_ms = now_ms
        with contextlib.suppress(DatabaseUnavailable):  # REST reads what is not landed
            self._writer.land(self._buffer.take(now_ms), [], now_ms, self._endpoint)
            self._report()

    def _report(self) -> None:
        now_ms = self._clock.now_ms()
        self._writer.report([self._said(line, now_ms) for line in self._lines], self._process())

    def _said(self, line: _Line, now_ms: int) -> dict[str, object]:
        status = line.socket.status
        return {
            "socket": line.socket.number,
            "endpoint": status.url,
            "state": "stopped" if self._stopped_ms is not None else status.state,
            "subscriptions": line.socket.subscriptions,
            "connected_at": _text(status.connected_ms),
            "last_frame_at": _text(status.last_frame_ms),
            "lag_ms": line.lag_ms,
            "reconnects": max(status.connects - 1, 0),
            "frames": status.frames,
            "frames_last_minute": line.frames_before if line.minute == now_ms // MINUTE_MS else 0,
            "rejected": status.rejected,
            "last_error": status.last_error,
        }

    def _process(self) -> ProcessState:
        sinces = [line.watch.since_ms for line in self._lines]
        untils = [line.watch.until_ms for line in self._lines]
        known = [at for at in sinces if at is not None]
        seen = [at for at in untils if at is not None]
        return ProcessState(
            holder=f"process {os.getpid()}",
            series=len(self._writer.series_ids),
            watching_since_ms=max(known) if len(known) == len(sinces) else None,
            watched_until_ms=min(seen) if len(seen) == len(untils) else None,
            queued=len(self._buffer),
            overflowed=self._buffer.overflowed,
            landed=self.stats.landed,
            closed=self.stats.closed,
            memory_bytes=memory_bytes(),
            stopped_ms=self._stopped_ms,
            started_ms=self._started_ms,
        )


def _subscriptions(coins: Sequence[str]) -> list[Subscription]:
    """What a line follows: candles first, for they count; ``allMids`` so that a quiet market's socket still speaks."""
    candles = [Subscription("candle", coin) for coin in coins]
    return [Subscription("allMids"), *candles, *(Subscription("activeAssetCtx", coin) for coin in coins)]


def _text(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_datetime(at_ms).isoformat()
