"""Small pictures in metadata: a series' coverage and candles; all markets' days, their confidence, the weight spent."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from hl_pipeline.derived.plots import candle_chart, coverage_strip, heat_map, line_chart, stacked_bars
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.span import Span
from hl_pipeline.model.status_page import MarketDays, TrustHistory, WeightUse
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import candles, coverage
from hl_pipeline.storage.engine import Connection

#: More candles than this are too small to see, or too much for the UI to show at once.
CHARTED = 24
#: Lines that are worst are drawn first, for not all of them fit.
_WORST_FIRST = ("missing", "lost", "provisional", "final", "empty", "none")
MEAN, LOWEST = "#27a", "#d43"


def pictures(connection: Connection, pipeline: Pipeline, key: SeriesKey, span: Span) -> dict[str, dg.MetadataValue]:
    """A coverage strip over ``span`` and the newest candles before its end; only what there is to draw."""
    now_ms, settle_ms = pipeline.clock.now_ms(), pipeline.policy.proof.settle_ms
    states = coverage.strip(connection, key, span, now_ms, settle_ms)
    name = f"{key.coin} {key.interval}"
    drawn: dict[str, dg.MetadataValue] = {}
    if states:
        drawn["coverage strip"] = dg.MetadataValue.md(coverage_strip(states, f"coverage of {name}"))
    chart = _chart(connection, key, span, now_ms, settle_ms)
    if chart:
        drawn["candle chart"] = dg.MetadataValue.md(chart)
    return drawn


def heat_picture(heat: Sequence[MarketDays]) -> dict[str, dg.MetadataValue]:
    """One line a market, one cell a day; those first that hold a hole, and only as many as the UI shows at once."""
    lines = [(line.coin, [day.state for day in line.days]) for line in heat]
    lines.sort(key=lambda line: (min(map(_WORST_FIRST.index, line[1]), default=0), line[0]))
    days = max((len(states) for _, states in lines), default=0)
    drawn = heat_map(lines, f"coverage of {len(lines)} markets over {days} days")
    return {f"coverage heat map, {days} days to today": dg.MetadataValue.md(drawn)} if drawn else {}


def trust_picture(trust: TrustHistory) -> dict[str, dg.MetadataValue]:
    """Mean (blue) and lowest (red) confidence of all series, 0 to 1 from bottom to top."""
    hours = trust.span.length_ms // 3_600_000
    drawn = line_chart([(MEAN, trust.mean), (LOWEST, trust.lowest)], f"confidence over {hours} hours")
    return {f"confidence over {hours} h: mean blue, lowest red": dg.MetadataValue.md(drawn)} if drawn else {}


def budget_picture(use: WeightUse) -> dict[str, dg.MetadataValue]:
    """Request weight by lane; the frame's top is what may be spent."""
    hours = use.span.length_ms // 3_600_000
    drawn = stacked_bars(use.by_lane, f"request weight over {hours} hours", top=use.most)
    name = f"weight over {hours} h: live blue, gap orange, back-fill violet"
    return {name: dg.MetadataValue.md(drawn)} if any(use.by_lane) else {}


def _chart(connection: Connection, key: SeriesKey, span: Span, now_ms: int, settle_ms: int) -> str:
    """The newest candles, shaded where slots are missing or lost."""
    newest = candles.newest(connection, key, span.end_ms, CHARTED)
    if not newest:
        return ""
    step_ms, last_ms = key.interval.milliseconds, newest[-1].open_ms
    shown = Span(last_ms - (CHARTED - 1) * step_ms, last_ms + step_ms)
    states = coverage.strip(connection, key, shown, now_ms, settle_ms, buckets=CHARTED)
    shaded = [
        (state, Span(shown.start_ms + number * step_ms, shown.start_ms + (number + 1) * step_ms))
        for number, state in enumerate(states)
        if state in {"missing", "lost"}
    ]
    within = [candle for candle in newest if candle.open_ms >= shown.start_ms]
    return candle_chart(within, f"newest candles of {key.coin} {key.interval}", step_ms=step_ms, shaded=shaded)
