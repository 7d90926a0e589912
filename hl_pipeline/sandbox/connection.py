"""One socket as the exchange sees it: what it subscribed to, what waits to be sent, what was done to it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass, field

from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.subscriptions import Topic

#: Closed without a close frame.
ABNORMAL = 1006


@dataclass(frozen=True, slots=True)
class Goodbye:
    """A close frame: the last thing a socket is sent."""

    code: int
    reason: str


@dataclass(eq=False, slots=True)
class Connection:
    """An accepted socket. Instants are ms of market time.

    ``met`` says of each fault that was drawn for this socket whether it hits it.
    """

    number: int
    client: str
    opened_ms: int
    transport: asyncio.Transport
    last_sent_ms: int = field(init=False)
    topics: dict[Topic, None] = field(default_factory=dict)
    outbox: asyncio.Queue[str | bytes | Goodbye] = field(default_factory=asyncio.Queue)
    met: dict[int, bool] = field(default_factory=dict)
    held: deque[tuple[int, str | bytes]] = field(default_factory=deque)
    faults: list[Fault] = field(default_factory=list)
    frames: int = 0
    messages: int = 0
    posts: int = 0
    ending: Goodbye | None = None
    is_deaf: bool = False

    def __post_init__(self) -> None:
        self.last_sent_ms = self.opened_ms

    def has(self, *kinds: FaultKind) -> bool:
        """Whether it is under one of these faults now."""
        return any(fault.kind in kinds for fault in self.faults)

    def send(self, text: str | bytes, now_ms: int) -> None:
        """Queue one message, unless the socket is ending or silenced."""
        if self.ending is None and not self.has(FaultKind.WS_MUTE, FaultKind.WS_BLACKHOLE):
            self.outbox.put_nowait(text)
            self.frames += 1
            self.last_sent_ms = now_ms

    def send_data(self, topic: Topic, text: str | bytes, now_ms: int) -> None:
        """Queue a frame about a topic: not while its topic stalls, and late while the socket is slow."""
        stalls = (fault for fault in self.faults if fault.kind is FaultKind.WS_STALL)
        if any(fault.is_about(*topic) for fault in stalls):
            return
        delay = sum(fault.amount for fault in self.faults if fault.kind is FaultKind.WS_SLOW)
        if delay or self.held:
            # what is held goes first, or frames would overtake one another
            due = max(now_ms + delay, self.held[-1][0] if self.held else 0)
            self.held.append((due, text))
        else:
            self.send(text, now_ms)

    def release(self, now_ms: int) -> None:
        """Queue the held frames whose time has come."""
        while self.held and self.held[0][0] <= now_ms:
            self.send(self.held.popleft()[1], now_ms)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what is queued."""
        if self.ending is None:
            self.ending = Goodbye(code, reason)
            self.outbox.put_nowait(self.ending)

    def reset(self, reason: str) -> None:
        """End the TCP connection at once, with RST and without a close frame; what is on its way may be lost."""
        there = self.transport.get_extra_info("socket")
        if there is not None and there.fileno() >= 0:
            with socket.socket(fileno=os.dup(there.fileno())) as same:
                # lingering for no time: the kernel resets instead of saying goodbye
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop(reason)

    def drop(self, reason: str) -> None:
        """End the TCP connection at once, without a close frame."""
        if self.ending is None:
            self.ending = Goodbye(ABNORMAL, reason)
        self.transport.abort()

    def listen(self, wanted: bool) -> None:
        """Read what the client sends, or for a black hole leave it unread."""
        if self.is_deaf == wanted:
            self.is_deaf = not wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()
