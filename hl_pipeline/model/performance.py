"""How a run fared, in numbers."""

from __future__ import annotations

from typing import NamedTuple

#: The lanes whose runs are recorded (hl.performance_history).
RECORDED_LANES = ("live", "gap", "backfill")


class RunPerformance(NamedTuple):
    """One run of candles. Latencies in ms; 1 MB is 1,000,000 bytes.

    ``seconds`` are of planning, asking and landing, waits for request weight included. ``failed`` of the ``requests``
    got no usable answer; ``refused`` counts answers of 429, healed or not. The percentiles are null when no request
    was answered, ``candles_per_second`` when no candle came.
    """

    seconds: float
    requests: int
    failed: int
    refused: int
    weight: int
    candles: int
    p50_ms: float | None
    p99_ms: float | None
    peak_memory_mb: float
    cpu_seconds: float
    candles_per_second: float | None

    @property
    def error_rate(self) -> float:
        """Share of the requests without a usable answer; 0 when none was sent."""
        return self.failed / self.requests if self.requests else 0.0


class RunSample(NamedTuple):
    """What regressions are judged by: a run of a ``lane`` that asked something and ended well."""

    lane: str
    candles_per_second: float | None
    p99_ms: float | None
    peak_memory_mb: float
    cpu_seconds: float
