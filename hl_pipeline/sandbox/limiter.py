"""Request weight per client and minute, as the exchange counts it (hyperliquid.md section 4).

How the real exchange cuts its minute is not documented, so there are three
forms; who satisfies the strictest, ``sliding``, satisfies all. Weight known
only from the answer is charged after it, which may overdraw; then nothing is
admitted until the debt is paid.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from enum import StrEnum

from hl_pipeline.model.clock import Clock
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE

_MINUTE_MS = 60_000


class LimiterMode(StrEnum):
    """Form of the limit: a bucket refilled evenly, a counter reset each minute, any sixty seconds, or none."""

    BUCKET = "bucket"
    MINUTE = "minute"
    SLIDING = "sliding"
    OFF = "off"


class MonotonicClock:
    """A clock for durations: it never steps, whatever the machine's time does."""

    def now_ms(self) -> int:
        """Milliseconds since some fixed instant."""
        return time.monotonic_ns() // 1_000_000


class WeightLimiter:
    """Admits requests while their client has weight left; safe from any thread."""

    def __init__(
        self, mode: LimiterMode, clock: Clock | None = None, per_minute: int = EXCHANGE_WEIGHT_PER_MINUTE
    ) -> None:
        self.mode = LimiterMode(mode)
        self.clock: Clock = clock or MonotonicClock()
        self.per_minute = per_minute
        self._spent: dict[str, tuple[float, int]] = {}
        self._recent: dict[str, deque[tuple[int, int]]] = defaultdict(deque)
        self._lock = threading.Lock()

    def admit(self, client: str, weight: int) -> bool:
        """Charge ``weight`` if the client has that much left now; else charge nothing."""
        if self.mode is LimiterMode.OFF:
            return True
        with self._lock:
            now = self.clock.now_ms()
            spent = self._spent_at(client, now)
            if spent + weight > self.per_minute:
                return False
            self._note(client, spent, weight, now)
            return True

    def charge(self, client: str, weight: int) -> None:
        """Charge what an admitted request turned out to cost on top; below zero, give back what it did not."""
        if self.mode is LimiterMode.OFF or weight == 0:
            return
        with self._lock:
            now = self.clock.now_ms()
            self._note(client, self._spent_at(client, now), weight, now)

    def _note(self, client: str, spent: float, weight: int, now: int) -> None:
        if self.mode is LimiterMode.SLIDING:
            self._recent[client].append((now, weight))
        else:
            self._spent[client] = (max(0.0, spent + weight), now)

    def _spent_at(self, client: str, now: int) -> float:
        if self.mode is LimiterMode.SLIDING:
            recent = self._recent[client]
            while recent and recent[0][0] <= now - _MINUTE_MS:
                recent.popleft()
            return sum(weight for _, weight in recent)
        spent, since = self._spent.get(client, (0.0, now))
        if self.mode is LimiterMode.MINUTE:
            return spent if now // _MINUTE_MS == since // _MINUTE_MS else 0.0
        return max(0.0, spent - (now - since) * self.per_minute / _MINUTE_MS)
