"""One socket of the exchange's stream, kept alive: connect, subscribe, receive, watch, and begin again.

Everything that waits or repeats on a socket is here. The receiver hands each frame
over at once and never waits for anybody. A socket that answers pings but
sends nothing counts as dead; the exchange's forced close every three hours is
forestalled by a second connection that takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.clock import Clock
from hl_pipeline.source.frames import CandleFrame, Complaint, Confirmed, ContextFrame, Frame, Subscription, decode_frame
from hl_pipeline.source.public import NotPublic, public_addresses

_LOG = logging.getLogger(__name__)
_PING = '{"method":"ping"}'
_LARGEST_FRAME = 4 * 1024 * 1024
#: Of the 2000 a minute; pings are not counted.
MOST_MESSAGES = 1_800
#: The exchange answers "Already subscribed" when an acknowledgement was lost; that is as good as one.
_AS_GOOD_AS_CONFIRMED = "Already subscribed"


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """How long a socket waits for what, in seconds; ``faster`` shortens all alike, for compressed time.

    ``silence``: without data for so long the socket counts as dead. ``ping`` keeps the exchange from closing an idle
    socket after 60 s. ``rotate`` forestalls the forced close. ``return_after``: so long a socket stays elsewhere before
    it tries the first URL again. ``back_off`` doubles up to ``longest_back_off`` and starts over once a connection
    lasted ``settled``. ``between_messages`` paces subscribing.
    """

    connect: float = 10.0
    silence: float = 30.0
    ping: float = 20.0
    subscribe: float = 30.0
    rotate: float = 10_200.0
    return_after: float = 300.0
    back_off: float = 0.5
    longest_back_off: float = 60.0
    settled: float = 60.0
    between_messages: float = 0.004
    connects_window: float = 60.0

    def faster(self, times: float) -> StreamTiming:
        """The same, ``times`` as fast."""
        return replace(self, **{part.name: getattr(self, part.name) / times for part in fields(self)})


def back_off_seconds(failures: int, timing: StreamTiming) -> float:
    """How long to wait after so many failures in a row, drawn from the upper half of what doubles each time.

    Clients that were cut off together must not come back together.
    """
    bound = min(timing.back_off * 2.0 ** min(failures - 1, 20), timing.longest_back_off)
    return bound / 2 + random.random() * bound / 2  # noqa: S311  # no secret


class Allowance:
    """At most ``most`` of something in any ``window`` seconds, over all sockets of the process.

    The exchange allows an address 30 new connections and 2000 messages a minute; we stay well below.
    """

    def __init__(self, most: int, *, window: float = 60.0) -> None:
        self._most, self._window = most, window
        self._at: deque[tuple[float, int]] = deque()

    def wait_seconds(self, count: int = 1) -> float:
        """0 and ``count`` are taken, or how long until there may be as many; more than ``most`` count as ``most``."""
        wait = self.seconds_until(count)
        if not wait:
            self._at.append((time.monotonic(), min(count, self._most)))
        return wait

    def seconds_until(self, count: int = 1) -> float:
        """How long until there are ``count``; none is taken."""
        now = time.monotonic()
        while self._at and now - self._at[0][0] >= self._window:
            self._at.popleft()
        lacking = min(count, self._most) + sum(taken for _, taken in self._at) - self._most
        for at, taken in self._at:
            if lacking <= 0:
                break
            lacking -= taken
            if lacking <= 0:
                return max(self._window - (now - at), 1e-6)
        return 0.0


class StreamSink(Protocol):
    """Who takes what a socket brings; called in the event loop, must not wait. Times are market ms, UTC."""

    def on_frame(self, socket: int, frame: Frame, now_ms: int) -> None:
        """A sound frame."""
        ...

    def on_connected(self, socket: int, now_ms: int) -> None:
        """Everything wanted is subscribed."""
        ...

    def on_broken(self, socket: int, now_ms: int) -> None:
        """The connection is gone."""
        ...


@dataclass(slots=True)
class SocketState:
    """What a socket can say of itself; instants in market ms, UTC. ``rejected`` frames broke a rule."""

    url: str = ""
    state: str = "connecting"
    connected_ms: int | None = None
    last_frame_ms: int | None = None
    connects: int = 0
    frames: int = 0
    rejected: int = 0
    complaints: int = 0
    last_error: str | None = None


class _Connect(connect):
    """Follows no redirect: we speak to whom we were told to."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Dead(Exception):
    """The connection stands and is of no use."""


class StreamSocket:
    """One socket that follows ``subscriptions`` at one of ``urls``, the first that works, until it is cancelled."""

    def __init__(
        self,
        number: int,
        urls: Collection[str],
        subscriptions: Collection[Subscription],
        sink: StreamSink,
        clock: Clock,
        allowance: Allowance,
        timing: StreamTiming | None = None,
        *,
        messages: Allowance | None = None,
        public_only: bool = False,
    ) -> None:
        self.number = number
        self._public_only = public_only
        self.status = SocketState()
        self._urls = list(urls)
        self._wanted = dict.fromkeys(subscriptions)
        self._sink, self._clock, self._allowance = sink, clock, allowance
        self._timing = timing or StreamTiming()
        self._messages = messages or Allowance(MOST_MESSAGES, window=self._timing.connects_window)
        self._failures = 0
        self._changed = asyncio.Event()
        self._heard = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def subscriptions(self) -> int:
        """How many are wanted."""
        return len(self._wanted)

    def want(self, subscriptions: Collection[Subscription]) -> None:
        """Follow these from now on: what is new is subscribed, what is gone is given up, as soon as may be."""
        self._wanted = dict.fromkeys(subscriptions)
        self._changed.set()

    async def run(self) -> None:
        """Connect and follow, again and again; ends only by cancellation."""
        while True:
            url = self._urls[self._failures % len(self._urls)]
            began = time.monotonic()
            try:
                await self._follow(url)
            except (OSError, TimeoutError, WebSocketException, _Dead) as error:
                self.status.last_error = f"{type(error).__name__}: {error}"[:300]
                _LOG.info("stream socket %d at %s: %s", self.number, url, self.status.last_error)
            finally:
                self.status.connected_ms = None
                self.status.state = "waiting"
                self._sink.on_broken(self.number, self._clock.now_ms())
            self._failures = 1 if time.monotonic() - began > self._timing.settled else self._failures + 1
            await asyncio.sleep(back_off_seconds(self._failures, self._timing))

    async def _follow(self, url: str) -> None:
        """One stretch of the stream, over as many connections as the rotation takes."""
        self.status.state = "connecting"
        self.status.url = url  # said before it is tried
        current = await self._prepare(url)
        try:
            while True:
                self._begin()
                follower = await self._receive(current)
                if follower is None:
                    return
                # make before break: the old connection ends once the new one is subscribed
                await current.stack.aclose()
                current = follower
                self.status.url = current.url
        finally:
            await current.stack.aclose()

    def _begin(self) -> None:
        self._heard = time.monotonic()
        self.status.state = "connected"
        self.status.connected_ms = self._clock.now_ms()
        self._sink.on_connected(self.number, self._clock.now_ms())

    @contextlib.asynccontextmanager
    async def _connected(self, url: str) -> AsyncIterator[ClientConnection]:
        # first for the messages: the exchange closes a connection on which nothing is said
        while wait := self._messages.seconds_until(len(self._wanted)) or self._allowance.wait_seconds():
            await asyncio.sleep(wait)
        self.status.connects += 1
        async with _Connect(
            url,
            **await self._address(url),
            open_timeout=self._timing.connect,
            ping_interval=self._timing.ping * 0.75,
            ping_timeout=self._timing.connect,
            close_timeout=self._timing.connect / 5,
            max_size=_LARGEST_FRAME,
            max_queue=1024,
            proxy=None,
        ) as connection:
            yield connection

    async def _address(self, url: str) -> dict[str, Any]:
        """Where to connect to; the connection goes to the address that was judged.

        Raises:
            _Dead: the host leads to an address that no exchange has.
        """
        if not self._public_only:
            return {}
        parts = urlsplit(url)
        try:
            return {"host": (await asyncio.to_thread(public_addresses, parts.hostname or "", parts.port or 443))[0]}
        except NotPublic as error:
            raise _Dead(str(error)) from error

    async def _subscribe(self, connection: ClientConnection) -> set[Subscription]:
        """Ask for everything wanted, and wait until all of it is confirmed; frames that come meanwhile count."""
        while wait := self._messages.wait_seconds(len(self._wanted)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), wait)
                raise _Dead("it ended before anything was asked of it")
        asked = set(self._wanted)
        missing = set(asked)
        sender = asyncio.create_task(self._send(connection, [found.as_json("subscribe") for found in self._wanted]))
        try:
            async with asyncio.timeout(self._timing.subscribe):
                while missing:
                    frame = self._take(await connection.recv())
                    if isinstance(frame, Confirmed):
                        missing.discard(frame.subscription)
                    elif isinstance(frame, Complaint):
                        self._complain(frame, missing)
                await sender
        except TimeoutError:
            some = ", ".join(f"{found.channel} {found.coin}" for found in sorted(missing)[:3])
            raise _Dead(f"{len(missing)} subscriptions were not confirmed, among them {some}") from None
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await sender
        return asked

    def _complain(self, complaint: Complaint, missing: set[Subscription]) -> None:
        """A refusal that names one of ours is its answer: the others must not wait for it."""
        for found in list(missing):
            named = not found.coin or f'"{found.coin}"' in complaint.text
            if named and found.channel in complaint.text:
                missing.discard(found)
                if _AS_GOOD_AS_CONFIRMED not in complaint.text:
                    _LOG.warning("the stream refuses %s %s: %s", found.channel, found.coin, complaint.text)
                return

    async def _send(self, connection: ClientConnection, messages: Collection[bytes]) -> None:
        for message in messages:
            await connection.send(message, text=True)
            await asyncio.sleep(self._timing.between_messages)

    async def _receive(self, current: _Prepared) -> _Prepared | None:
        """Take frames until the connection ends, or another one stands ready to follow it."""
        connection = current.connection
        pinger = asyncio.create_task(self._ping(connection))
        tender = asyncio.create_task(self._tend(current))
        succession = asyncio.create_task(self._succeed(current.url))
        try:
            while not succession.done():
                left = self._timing.silence - (time.monotonic() - self._heard)
                if left <= 0:
                    raise _Dead(f"no data for {self._timing.silence:g} s on a socket that is open")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._timing.silence / 4)):
                        self._take(await connection.recv())
            return succession.result()
        except ConnectionClosed as closed:
            self.status.last_error = f"closed by {'them' if closed.rcvd else 'the network'}: {closed}"[:300]
            return None
        finally:
            await _cancelled(pinger)
            await _cancelled(tender)
            if not succession.done():
                await _cancelled(succession)

    async def _tend(self, current: _Prepared) -> None:
        """Ask for what is wanted by now and was not when the connection was made."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._changed.clear()
                fresh = [found for found in self._wanted if found not in current.asked]
                gone = [found for found in current.asked if found not in self._wanted]
                current.asked = set(self._wanted)
                messages = [found.as_json("subscribe") for found in fresh]
                messages += [found.as_json("unsubscribe") for found in gone]
                while messages and (wait := self._messages.wait_seconds(len(messages))):
                    await asyncio.sleep(wait)
                await self._send(current.connection, messages)
                await self._changed.wait()

    async def _succeed(self, url: str) -> _Prepared:
        """The connection that takes over: at the first URL as soon as that works again, else when this one is old."""
        first, began = self._urls[0], time.monotonic()
        pause = self._timing.rotate if url == first else min(self._timing.return_after, self._timing.rotate)
        await asyncio.sleep(pause)
        while True:
            is_old = time.monotonic() - began >= self._timing.rotate
            for candidate in dict.fromkeys([first, url] if is_old else [first]):
                try:
                    return await self._prepare(candidate)
                except (OSError, TimeoutError, WebSocketException, _Dead) as error:
                    _LOG.info("stream socket %d: no second connection at %s yet: %s", self.number, candidate, error)
            await asyncio.sleep(self._timing.longest_back_off if is_old else pause)

    async def _prepare(self, url: str) -> _Prepared:
        """A connection with everything subscribed, and what closes it."""
        async with contextlib.AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._connected(url))
            asked = await self._subscribe(connection)
            return _Prepared(url, connection, stack.pop_all(), asked)
        raise AssertionError("the stack swallows nothing")

    def _take(self, message: str | bytes) -> Frame:
        frame = decode_frame(message)
        now_ms = self._clock.now_ms()
        self.status.frames += 1
        if isinstance(frame, RejectedRow):
            self.status.rejected += 1
            _LOG.debug("a frame was refused: %s, %s", frame.rule, frame.value)
            return frame
        if isinstance(frame, Complaint):
            self.status.complaints += 1
        elif not isinstance(frame, Confirmed):
            is_data = isinstance(frame, CandleFrame | ContextFrame) or getattr(frame, "channel", "") == "allMids"
            if is_data:
                self._heard = time.monotonic()
                self.status.last_frame_ms = now_ms
                self._sink.on_frame(self.number, frame, now_ms)
        return frame

    async def _ping(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self._timing.ping)
                await connection.send(_PING)


@dataclass(slots=True)
class _Prepared:
    """A connection that is subscribed to what was ``asked``, with what closes it."""

    url: str
    connection: ClientConnection
    stack: contextlib.AsyncExitStack
    asked: set[Subscription]


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
