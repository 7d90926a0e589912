"""The nouns of the status report: what one page says, before anybody draws it. Times in ms UTC, spans half-open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.open_gap import OpenGap
from hl_pipeline.model.span import Span

#: Where the page is written, in the venue's own folder.
REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class CoverageCell:
    """One market's day over all its intervals: the worst ``state`` in it, and the slots due and settled.

    ``state`` is missing, lost, provisional, final, empty, or none where nothing is due. Slots are young, and a gap is
    not yet one, until two periods have passed in which they could have been asked for.
    """

    state: str
    due: int
    settled: int


@dataclass(frozen=True, slots=True)
class MarketDays:
    """A line of the heat map; ``days`` are as many as the page's, oldest first, the last is today."""

    coin: str
    days: Sequence[CoverageCell]


@dataclass(frozen=True, slots=True)
class SeriesStanding:
    """How one series stands. Slots are counted from its first expected one to now.

    ``newest_close_ms`` is when its newest closed candle closed, null without one; ``bound_s`` how old that may be.
    ``is_over``: the market is delisted, nothing more comes. ``missing`` slots are due and not settled, young ones
    apart; ``deadline_ms`` is when the exchange forgets the first of them.
    """

    key: SeriesKey
    newest_close_ms: int | None
    bound_s: float
    is_over: bool
    due: int
    settled: int
    lost: int
    missing: int
    deadline_ms: int | None
    confidence: float | None
    grade: str | None

    def is_fresh(self, now_ms: int) -> bool:
        """The newest closed candle is young enough, or none is to come."""
        if self.is_over:
            return True
        return self.newest_close_ms is not None and now_ms - self.newest_close_ms <= 1000 * self.bound_s

    @property
    def is_whole(self) -> bool:
        """Nothing that is due is missing; what is lost for good is told apart."""
        return self.missing == 0


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert that nobody has resolved."""

    severity: str
    rule: str
    summary: str
    next_step: str
    first_seen_ms: int


@dataclass(frozen=True, slots=True)
class WeightUse:
    """Request weight by lane in equal steps, oldest first; ``most`` is what one step may hold."""

    span: Span
    step_ms: int
    most: int
    by_lane: Sequence[Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class TrustHistory:
    """Mean and lowest confidence of all series in equal steps, oldest first; null before the first score."""

    span: Span
    mean: Sequence[float | None]
    lowest: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Everything on the page, at market time ``now_ms``.

    ``health`` is the health report as JSON (`health.report.to_json`); ``gaps`` come nearest deadline first, young ones
    apart; ``figures`` are of the last 24 h, name and value.
    """

    venue: str
    version: str
    now_ms: int
    written_ms: int
    health: Mapping[str, Any]
    heat: Sequence[MarketDays]
    series: Sequence[SeriesStanding]
    gaps: Sequence[OpenGap]
    alerts: Sequence[AlertLine]
    weight: WeightUse
    trust: TrustHistory
    figures: Sequence[tuple[str, str]] = field(default=())
