"""Market time whose pace can be changed while everybody reads it: standing, real, compressed."""

from __future__ import annotations

import threading
import time


class PacedClock:
    """Stands at ``start_ms`` until ``run_at`` says how fast it goes. For the threads of one process."""

    def __init__(self, start_ms: int) -> None:
        self._from_ms, self._speed = start_ms, 0.0
        self._since_ns = time.monotonic_ns()
        self._guard = threading.Lock()

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC, as this clock counts them."""
        with self._guard:
            return self._now()

    def run_at(self, speed: float) -> None:
        """From now on ``speed`` times as fast as the machine's clock; 0: it stands."""
        with self._guard:
            self._from_ms, self._since_ns, self._speed = self._now(), time.monotonic_ns(), speed

    def advance(self, milliseconds: int) -> None:
        """Jump forward."""
        with self._guard:
            self._from_ms += milliseconds

    def sleep(self, seconds: float) -> None:
        """Let so much market time pass; while the clock stands, it jumps."""
        with self._guard:
            speed = self._speed
        if speed:
            time.sleep(seconds / speed)
        else:
            self.advance(int(seconds * 1000) + 1)

    def monotonic(self) -> float:
        """Market time in seconds, for durations."""
        return self.now_ms() / 1000

    def _now(self) -> int:
        return self._from_ms + int((time.monotonic_ns() - self._since_ns) * self._speed) // 1_000_000
