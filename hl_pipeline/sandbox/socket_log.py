"""Who opened, was refused and lost which socket, when: the proof of a client's manners."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class SocketEvent:
    """One thing that befell a socket.

    ``at_ms`` is a clock for durations, ``market_ms`` the world's. ``event`` is
    ``connect``, ``refuse`` (the handshake was refused: ``code`` is the HTTP
    status) or ``close`` (``code`` is the close code, 1006 without a close
    frame; ``frames`` and ``messages`` count what went out and came in).
    ``connection`` numbers the sockets that were accepted, from 1; 0 for others.
    """

    number: int
    at_ms: int
    market_ms: int
    client: str
    connection: int
    event: Literal["connect", "refuse", "close"]
    code: int = 0
    reason: str = ""
    frames: int = 0
    messages: int = 0


class SocketLog:
    """The newest 100 000 events, oldest first; safe from any thread."""

    def __init__(self) -> None:
        self._events: deque[SocketEvent] = deque(maxlen=_KEPT)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(
        self,
        event: Literal["connect", "refuse", "close"],
        market_ms: int,
        client: str,
        connection: int = 0,
        code: int = 0,
        reason: str = "",
        frames: int = 0,
        messages: int = 0,
    ) -> None:
        """Note one event; fields as in ``SocketEvent``."""
        at_ms = time.monotonic_ns() // 1_000_000
        with self._lock:
            number = next(self._numbers)
            noted = SocketEvent(number, at_ms, market_ms, client, connection, event, code, reason, frames, messages)
            self._events.append(noted)

    def entries(self, after: int = 0) -> list[SocketEvent]:
        """Events numbered above ``after``; numbers start at 1."""
        with self._lock:
            return [event for event in self._events if event.number > after]

    def attempts(self, client: str | None = None) -> list[SocketEvent]:
        """Every handshake that was tried, refused ones included; of one client, or of all."""
        return [e for e in self.entries() if e.event in ("connect", "refuse") and client in (None, e.client)]

    def most_attempts_in(self, milliseconds: int = 60_000, client: str | None = None, *, market: bool = True) -> int:
        """The most handshakes tried in any half-open window that long, in market time or in real time."""
        return most_in(milliseconds, (e.market_ms if market else e.at_ms for e in self.attempts(client)))


def most_in(milliseconds: int, instants: Iterable[int]) -> int:
    """The most of these instants in any half-open window that long."""
    window: deque[int] = deque()
    most = 0
    for instant in sorted(instants):
        window.append(instant)
        while window[0] <= instant - milliseconds:
            window.popleft()
        most = max(most, len(window))
    return most
