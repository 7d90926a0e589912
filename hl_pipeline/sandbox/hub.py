"""All sockets of one exchange: who may open one, who hears what, when one ends, and what goes wrong with it.

Everything follows the world's clock, which may be this machine's, a faster one
or one that a test moves. The hub looks at it often and tells what happened
since its last look.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox import subscriptions
from hl_pipeline.sandbox.connection import Connection
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.faults import ENDING_KINDS, FRAME_KINDS, HANDSHAKE_KINDS, HOLDING_KINDS, Fault, FaultKind
from hl_pipeline.sandbox.feed import Feed, Frame, edge_after
from hl_pipeline.sandbox.gate import MinuteCount, SocketLimits
from hl_pipeline.sandbox.mischief import Garbage, big_frame
from hl_pipeline.sandbox.socket_log import SocketLog
from hl_pipeline.sandbox.subscriptions import Topic

LOOK_SECONDS = 0.02
#: A clock that jumps further than this is followed from here; longer than any socket lives.
_LONGEST_CATCH_UP_MS = 4 * 3_600_000
_NORMAL = 1000


class Hub:
    """The exchange's WebSocket side, but for the sockets' bytes and the clients' messages.

    Its methods belong to the server's event loop; ``log`` may be read from any
    thread, and ``limits`` replaced from any.
    """

    def __init__(self, exchange: Exchange, limits: SocketLimits | None = None) -> None:
        self.exchange = exchange
        self.limits = limits or SocketLimits()
        self.log = SocketLog()
        self.connects, self.messages = MinuteCount(), MinuteCount()
        self.feed = Feed(exchange, exchange.world.clock.now_ms())
        self._frames_of_the_gone = 0
        self._connections: dict[int, Connection] = {}
        self._numbers = itertools.count(1)
        self._listeners: dict[Topic, dict[int, Connection]] = defaultdict(dict)
        self._reordered: dict[Topic, str] = {}
        self._garbage = Garbage()
        self._watching: asyncio.Task[None] | None = None

    def now_ms(self) -> int:
        """Market time."""
        return self.exchange.world.clock.now_ms()

    # opening and ending

    def refusal(self, client: str) -> int | None:
        """The HTTP status with which this client's handshake is refused now, or none; a refusal is logged."""
        now = self.now_ms()
        status, reason = 429, ""
        open_now = sum(connection.client == client for connection in self._connections.values())
        refused = self._struck(FaultKind.WS_REFUSE, now)
        if refused is not None:
            status, reason = refused.amount or 503, refused.kind.value
        elif self.limits.connections is not None and open_now >= self.limits.connections:
            reason = "connections"
        elif not self.connects.admits(client, self.limits.connects_a_minute, now):
            reason = "connects a minute"
        if not reason:
            return None
        self.log.add("refuse", now, client, code=status, reason=reason)
        return status

    def open(self, client: str, transport: asyncio.Transport) -> Connection:
        """An accepted socket: from now on it ages, and faults find it."""
        now = self.now_ms()
        if not self._connections:
            self.feed.skip(now)
        connection = Connection(next(self._numbers), client, now, transport)
        # a drop that began before this socket passes it by
        connection.met.update((number, False) for number, _ in self.exchange.faults.on_sockets(ENDING_KINDS, now))
        self._connections[connection.number] = connection
        self.log.add("connect", now, client, connection.number)
        self._meet(connection, now)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="sandbox sockets")
        return connection

    def greet(self, connection: Connection) -> None:
        """What happens right after a handshake: nothing, a line of text, or the end."""
        now = self.now_ms()
        dropped = self._struck(FaultKind.WS_ACCEPT_THEN_DROP, now)
        if dropped is not None:
            connection.drop(dropped.kind.value)
        elif self.exchange.manners.greeting:
            connection.send(subscriptions.GREETING, now)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        """A socket is gone, whoever ended it."""
        for topic in list(connection.topics):
            self.leave(connection, topic)
        del self._connections[connection.number]
        self._frames_of_the_gone += connection.frames
        if connection.ending is not None:
            code, reason = connection.ending.code, connection.ending.reason
        self.log.add(
            "close", self.now_ms(), connection.client, connection.number, code, reason,
            connection.frames, connection.messages,
        )  # fmt: skip

    # topics

    def join(self, connection: Connection, topic: Topic) -> None:
        """Tell this socket of the topic from now on."""
        connection.topics[topic] = None
        self._listeners[topic][connection.number] = connection
        self.feed.watch(topic)

    def leave(self, connection: Connection, topic: Topic) -> None:
        """Tell it no more."""
        del connection.topics[topic]
        del self._listeners[topic][connection.number]
        if not self._listeners[topic]:
            del self._listeners[topic]
            self._reordered.pop(topic, None)
        self.feed.unwatch(topic)

    def subscriptions_of(self, client: str) -> int:
        """How many topics a client has on all its sockets."""
        return sum(len(one.topics) for one in self._connections.values() if one.client == client)

    # time

    async def _watch(self) -> None:
        try:
            while self._connections:
                self.look()
                await asyncio.sleep(LOOK_SECONDS)
        except Exception:
            # a sandbox that fails must not look like one that is silent
            for connection in self._connections.values():
                connection.drop("the sandbox failed")
            raise

    def look(self) -> None:
        """Tell what happened since the last look, in order, and end the sockets whose time has come."""
        now = self.now_ms()
        if now - self.feed.seen_ms > _LONGEST_CATCH_UP_MS:
            self.feed.skip(now - _LONGEST_CATCH_UP_MS)
        while True:
            # by the minute, so that a clock that jumps ends a socket between two frames, not after all of them
            to_ms = min(now, edge_after(self.feed.seen_ms))
            at_ms = max(to_ms, self.feed.seen_ms)
            for connection in self._connections.values():
                self._meet(connection, at_ms)
            self._tell(to_ms)
            for connection in self._connections.values():
                self._end(connection, at_ms)
            if self.feed.seen_ms >= now:
                break

    def _tell(self, to_ms: int) -> None:
        faults = self.exchange.faults.on_sockets(FRAME_KINDS, to_ms)
        for frame in self.feed.until(to_ms):
            texts = self._damaged(frame, faults) if faults or self._reordered else [frame.text]
            for connection in self._listeners[frame.topic].values():
                for text in texts:
                    connection.send_data(frame.topic, text, frame.at_ms)

    def _damaged(self, frame: Frame, faults: list[tuple[int, Fault]]) -> list[str | bytes]:
        """What goes out instead of one frame: itself, with company, twice, or later."""
        plan = self.exchange.faults
        met = [fault for number, fault in faults if fault.is_about(*frame.topic) and plan.strikes(number, fault)]
        kinds = {fault.kind for fault in met}
        ahead: list[str | bytes] = [big_frame(fault.amount) for fault in met if fault.kind is FaultKind.WS_BIG_FRAME]
        if FaultKind.WS_GARBAGE in kinds:
            ahead.append(self._garbage.next(frame.text))
        honest: list[str | bytes] = [frame.text] * (2 if FaultKind.WS_DUPLICATE in kinds else 1)
        earlier = self._reordered.pop(frame.topic, None)
        if earlier is not None:
            return [*ahead, *honest, earlier]
        if FaultKind.WS_REORDER in kinds:
            self._reordered[frame.topic] = frame.text
            return ahead
        return [*ahead, *honest]

    def _end(self, connection: Connection, now_ms: int) -> None:
        """Close what is too old, too quiet or too far behind; what was silenced on purpose is left in its silence."""
        limits = self.limits
        connection.release(now_ms)
        if connection.ending is not None or connection.has(FaultKind.WS_BLACKHOLE):
            return
        if connection.outbox.qsize() > limits.backlog:
            connection.reset("backlog")
        elif limits.expire_ms is not None and now_ms - connection.opened_ms >= limits.expire_ms:
            connection.close(_NORMAL, "Expired")
        elif (
            limits.idle_ms is not None
            and now_ms - connection.last_sent_ms >= limits.idle_ms
            and not connection.has(FaultKind.WS_MUTE)
        ):
            connection.close(_NORMAL, "Inactive")

    # faults

    def acknowledgements(self) -> int:
        """How many times to acknowledge a subscription."""
        plan = self.exchange.faults
        held = plan.on_sockets(frozenset({FaultKind.WS_DUPLICATE_ACKS}), self.now_ms())
        return 1 + sum(plan.strikes(number, fault) for number, fault in held)

    def _struck(self, kind: FaultKind, now_ms: int) -> Fault | None:
        """The fault of a handshake kind that hits this one, or none."""
        plan = self.exchange.faults
        held = plan.on_sockets(HANDSHAKE_KINDS, now_ms)
        return next((fault for number, fault in held if fault.kind is kind and plan.strikes(number, fault)), None)

    def _drawn(self, connection: Connection, kinds: frozenset[FaultKind], now_ms: int) -> Iterator[tuple[int, Fault]]:
        """The faults of these kinds that this socket is under; each is drawn for it once."""
        for number, fault in self.exchange.faults.on_sockets(kinds, now_ms):
            if number not in connection.met:
                connection.met[number] = self.exchange.faults.strikes(number, fault)
            if connection.met[number]:
                yield number, fault

    def _meet(self, connection: Connection, now_ms: int) -> None:
        """Let the plan do to a socket what it has for this instant."""
        if connection.ending is not None:
            return
        connection.faults = [fault for _, fault in self._drawn(connection, HOLDING_KINDS, now_ms)]
        connection.listen(not connection.has(FaultKind.WS_BLACKHOLE))
        for number, fault in self._drawn(connection, ENDING_KINDS, now_ms):
            connection.met[number] = False
            if fault.kind is FaultKind.WS_DROP:
                connection.reset(fault.kind.value)
            else:
                connection.close(_NORMAL, "Expired")

    def state(self) -> dict[str, Any]:
        """What the switchboard shows."""
        now, events = self.now_ms(), self.log.entries()
        return {
            "connections": len(self._connections),
            "subscriptions": sum(len(connection.topics) for connection in self._connections.values()),
            "topics": len(self._listeners),
            "frames_sent": self._frames_of_the_gone + sum(one.frames for one in self._connections.values()),
            "connects": sum(event.event == "connect" for event in events),
            "connects_last_minute": sum(
                event.event == "connect" and event.market_ms > now - MINUTE_MS for event in events
            ),
            "refusals": sum(event.event == "refuse" for event in events),
            "most_connects_a_minute": dict(self.connects.most),
            "most_messages_a_minute": dict(self.messages.most),
        }
