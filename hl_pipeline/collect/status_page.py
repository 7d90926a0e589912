"""Gathers the status report on one connection, and puts the finished page in its place at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hl_pipeline.derived.report_html import NOTHING, render
from hl_pipeline.health.verdict import freshness_bound_s
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.open_gap import OpenGap, time_left
from hl_pipeline.model.span import Span
from hl_pipeline.model.status_page import AlertLine, SeriesStanding, StatusPage
from hl_pipeline.storage import overview, status_page
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.gaps import open_gaps
from hl_pipeline.storage.stats import PipelineStats, pipeline_stats

DAYS = 14
_HOUR_MS = 60 * MINUTE_MS
WEIGHT_REACH_MS, WEIGHT_STEP_MS = 6 * _HOUR_MS, 15 * MINUTE_MS
TRUST_REACH_MS, TRUST_STEP_MS = 24 * _HOUR_MS, 30 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Frame:
    """What the page is drawn with: ``period_ms`` between two collections, ``budget`` is weight a minute."""

    venue: str
    now_ms: int
    period_ms: int
    settle_ms: int
    budget: int


def gather_page(connection: Connection, frame: Frame, health: Mapping[str, Any]) -> StatusPage:
    """Everything the page says, read at market time; ``health`` is the health report as JSON. Changes nothing."""
    now_ms = frame.now_ms
    gaps = [
        gap
        for gap in open_gaps(connection, now_ms, settle_ms=frame.settle_ms, period_ms=frame.period_ms)
        if not gap.is_young
    ]
    weight_end_ms = -(-now_ms // WEIGHT_STEP_MS) * WEIGHT_STEP_MS
    return StatusPage(
        venue=frame.venue,
        version=version("hl-pipeline"),
        now_ms=now_ms,
        written_ms=time.time_ns() // 1_000_000,
        health=health,
        heat=status_page.market_days(
            connection, now_ms, days=DAYS, settle_ms=frame.settle_ms, period_ms=frame.period_ms
        ),
        series=_series(connection, frame, gaps),
        gaps=gaps,
        alerts=[
            AlertLine(alert.severity, alert.rule, alert.summary, alert.next_step, alert.first_seen_ms)
            for alert in overview.open_alerts(connection)
        ],
        weight=status_page.weight_use(
            connection,
            Span(weight_end_ms - WEIGHT_REACH_MS, weight_end_ms),
            WEIGHT_STEP_MS,
            frame.budget * WEIGHT_STEP_MS // MINUTE_MS,
        ),
        trust=status_page.trust_history(connection, Span(now_ms - TRUST_REACH_MS, now_ms), TRUST_STEP_MS),
        figures=figures(pipeline_stats(connection)),
    )


def figures(stats: PipelineStats) -> list[tuple[str, str]]:
    """The statistics of the last 24 hours as a person reads them: name and value."""
    return [
        ("points received", f"{stats.points:,}"),
        ("requests", f"{stats.api_calls:,}"),
        ("of them failed", f"{stats.errors:,}"),
        ("weight spent", f"{stats.weight:,}"),
        ("answers of 429", f"{stats.answers_429:,}"),
        ("rows refused", f"{stats.rejected_rows:,}"),
        ("revisions", f"{stats.revisions:,}"),
        ("gaps found", f"{stats.gaps_found:,}"),
        ("gaps healed", f"{stats.gaps_healed:,}"),
        ("gaps lost", f"{stats.gaps_lost:,}"),
        ("time to detect", _duration(stats.seconds_to_detect)),
        ("time to repair", _duration(stats.seconds_to_repair)),
        ("alerts raised", f"{stats.alerts_raised:,}"),
        ("alerts resolved", f"{stats.alerts_resolved:,}"),
        ("healthy or degraded", _percent(stats.uptime_share)),
        ("mean score", NOTHING if stats.mean_score is None else f"{stats.mean_score:.0f}"),
    ]


def write_page(page: StatusPage, path: Path) -> int:
    """Write the page; readers see the old one or the new one, never half of one. Returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render(page).encode()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as beside:
        try:
            beside.write(text)
            beside.flush()
            Path(beside.name).replace(path)
        except BaseException:
            Path(beside.name).unlink(missing_ok=True)
            raise
    return len(text)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{seconds:.0f} s" if seconds < 60 else time_left(round(1000 * seconds))


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _series(connection: Connection, frame: Frame, gaps: list[OpenGap]) -> list[SeriesStanding]:
    missing: dict[SeriesKey, list[OpenGap]] = {}
    for gap in gaps:
        missing.setdefault(gap.key, []).append(gap)
    found = []
    for row in status_page.series_standing(connection, frame.now_ms, frame.settle_ms):
        key = SeriesKey(row.coin, row.interval)
        mine = missing.get(key, [])
        bound_s = freshness_bound_s(row.interval, frame.period_ms / 1000, frame.settle_ms / 1000)
        found.append(
            SeriesStanding(
                key, row.newest_close_ms, bound_s, row.is_over, row.due, row.settled, row.lost,
                sum(gap.slots for gap in mine), min((gap.deadline_ms for gap in mine), default=None),
                row.confidence, row.grade,
            )
        )  # fmt: skip
    return found
