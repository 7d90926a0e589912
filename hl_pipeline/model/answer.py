"""What came back from the exchange, decoded and judged row by row, with its provenance."""

from __future__ import annotations

from dataclasses import dataclass

from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.market import Market, MarketContext
from hl_pipeline.model.span import Span


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that broke a hard rule: its place in the answer, the rule, the value, the row as sent."""

    position: int
    rule: str
    value: str
    payload: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """How one answer was obtained. ``latency_ms`` is our own time from sending to the last byte.

    ``retries`` attempts failed before it, ``refused`` of them with 429.
    ``weight`` is what this answer cost with all the attempts it took.
    """

    endpoint: str
    http_status: int
    latency_ms: float
    weight: int
    sha256: bytes
    retries: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class CandleRequest:
    """Candles of one series that overlap the half-open span ``[start_ms, end_ms)``, both on the grid."""

    series: SeriesKey
    start_ms: int
    end_ms: int

    @property
    def span(self) -> Span:
        """What is asked for, as one span."""
        return Span(self.start_ms, self.end_ms)

    @property
    def slots(self) -> int:
        """How many slots the span holds, and so the most rows it can return."""
        return (self.end_ms - self.start_ms) // self.series.interval.milliseconds


@dataclass(frozen=True, slots=True)
class CandleAnswer:
    """Rows in ascending, distinct open times inside the asked span; received = len(candles) + len(rejected) + outside.

    ``outside`` counts well-formed rows beyond the asked span (the exchange
    answers with every candle that overlaps it) and exact repeats of a row.
    """

    request: CandleRequest
    candles: list[Candle]
    rejected: list[RejectedRow]
    outside: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class MarketsAnswer:
    """The universe and its contexts, joined by coin; ``rejected`` are markets or contexts that could not be read."""

    markets: list[Market]
    contexts: list[MarketContext]
    rejected: list[RejectedRow]
    receipts: list[Receipt]
