"""What was asked, by whom, when, and what it weighed: the proof of a client's manners."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as the exchange saw it.

    ``at_ms`` is the limiter's clock on arrival, ``market_ms`` the world's.
    ``weight`` is what was charged: 0 for a refused request. ``fault`` names the
    fault that shaped the answer, or is empty.
    """

    number: int
    at_ms: int
    market_ms: int
    client: str
    request: str
    coin: str
    interval: str
    start_ms: int | None
    end_ms: int | None
    status: int
    rows: int
    weight: int
    fault: str


class RequestLog:
    """The newest 200 000 requests, oldest first; safe from any thread."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def add(self, entry: LoggedRequest) -> None:
        """Note one request."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, after: int = 0) -> list[LoggedRequest]:
        """Requests numbered above ``after``; numbers start at 1."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > after]

    def clear(self) -> None:
        """Forget everything noted so far."""
        with self._lock:
            self._entries.clear()

    def weight(self) -> int:
        """Weight charged in all."""
        return sum(entry.weight for entry in self.entries())

    def refusals(self) -> int:
        """How many requests were answered with 429."""
        return sum(entry.status == 429 for entry in self.entries())

    def max_weight_in(self, milliseconds: int = 60_000, client: str | None = None) -> int:
        """The most weight charged in any half-open window that long, by arrival; of one client, or of all together."""
        window: deque[LoggedRequest] = deque()
        total = most = 0
        for entry in sorted(self.entries(), key=lambda entry: entry.at_ms):
            if client is not None and entry.client != client:
                continue
            window.append(entry)
            total += entry.weight
            while window[0].at_ms <= entry.at_ms - milliseconds:
                total -= window.popleft().weight
            most = max(most, total)
        return most
