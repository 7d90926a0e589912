"""Market time comes from one injected clock, so that a day can be lived in a second.

Durations of our own work are measured with ``time.monotonic``; only what is
compared with candle times reads this clock.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Whatever knows the market's time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...


class SystemClock:
    """This machine's clock, shifted by a fixed offset (0 in production)."""

    def __init__(self, offset_ms: int = 0) -> None:
        self._offset_ms = offset_ms

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC, plus the offset."""
        return time.time_ns() // 1_000_000 + self._offset_ms


class ScaledClock:
    """Market time that runs ``speed`` times as fast as ``time.monotonic``: a long soak in a short while.

    It stood at ``start_ms`` when the monotonic clock read ``since_ns`` (now, by
    default). The monotonic clock is one for the whole machine, so processes
    given the same three numbers share one market time.

    Raises:
        ValueError: ``speed`` is not above 0.
    """

    def __init__(self, start_ms: int, speed: float, since_ns: int | None = None) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed}: time runs forward; use a number above 0")
        self.start_ms = start_ms
        self.speed = speed
        self.since_ns = time.monotonic_ns() if since_ns is None else since_ns

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC, as this clock counts them."""
        return self.start_ms + int((time.monotonic_ns() - self.since_ns) * self.speed) // 1_000_000

    def real_seconds(self, market_seconds: float) -> float:
        """How long so much market time takes: what to sleep, or to wait at most."""
        return market_seconds / self.speed


class ManualClock:
    """A clock that moves only when told to: simulations, the sandbox, tests."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """The instant last set."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Move forward; time never runs back here."""
        if milliseconds < 0:
            raise ValueError(f"a clock moves forward, not by {milliseconds} ms")
        self._now_ms += milliseconds

    def set(self, now_ms: int) -> None:
        """Jump to an instant at or after the present one."""
        self.advance(now_ms - self._now_ms)
