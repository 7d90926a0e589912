"""What is measured of a series before it is scored, and what a score says (design section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hl_pipeline.model.candle import SeriesKey


@dataclass(frozen=True, slots=True)
class SeriesInputs:
    """Counts over the series' window of closed, due slots; null means not measurable.

    ``expected`` due slots are ``present`` (stored), ``empty`` (verified) or missing. ``newest_closed_age_s`` is
    seconds of market time since the newest closed candle's close; ``period_s`` is the polling period. Of the missing
    slots, ``missing_at_head`` follow the newest candle and ``missing_rejected`` are missing because their rows were
    refused; ``longest_missing_inside`` is the longest run of the missing that are not at the head. ``received``
    and ``bad`` count rows of the last day's answers and stored rows, and those of them that broke a rule.
    ``parents_differing`` of ``parents_compared`` candles are not the exact aggregate of their children, and
    ``above_differing`` of ``above_compared`` candles of the next larger interval are not the aggregate of this one's;
    those are not counted of which a third interval says that the fault lies elsewhere. ``derived_suspect`` of the
    derived candles must be expected to be wrong, since that share of their 1m candles' larger ones is.
    ``sampled_differing`` of ``sampled`` candles were found wrong when the venue's own answer replaced a derived one.
    ``mark_distance`` is |close - mark| / mark. ``grades`` maps final, archive, derived, stream, open to row counts.
    """

    series_id: int
    key: SeriesKey
    expected: int
    present: int
    empty: int
    longest_missing: int
    newest_closed_age_s: float | None
    period_s: float
    ended: bool = False
    received: int = 0
    bad: int = 0
    parents_compared: int = 0
    parents_differing: int = 0
    above_compared: int = 0
    above_differing: int = 0
    derived_suspect: float | None = None
    mark_distance: float | None = None
    sampled: int = 0
    sampled_differing: int = 0
    grades: Mapping[str, int] = field(default_factory=dict)
    revised: int | None = None
    oddities: int | None = None
    missing_at_head: int = 0
    longest_missing_inside: int = 0
    missing_rejected: int = 0

    @property
    def missing(self) -> int:
        """Due slots neither stored nor verified empty."""
        return max(0, self.expected - self.present - self.empty)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a score. ``score`` is null when it was not measurable; ``reason`` says what was found, or why not."""

    score: float | None
    weight: float
    measured: dict[str, float | None]
    reason: str


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a series can be trusted, 0 to 1.

    ``weakest`` is the component whose repair, with whatever follows from it, would raise the score most.
    """

    series_id: int
    key: SeriesKey
    score: float
    grade: str
    weakest: str
    components: dict[str, Component]
    reasons: list[str]
