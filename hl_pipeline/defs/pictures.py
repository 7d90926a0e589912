"""Small pictures for a series: its coverage as a strip, its newest candles as a chart."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.derived.plots import candle_chart, coverage_strip
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import candles, coverage
from hl_pipeline.storage.engine import Connection

#: More candles than this are too small to see, or too much for the UI to show at once.
CHARTED = 24


def pictures(connection: Connection, pipeline: Pipeline, key: SeriesKey, span: Span) -> dict[str, dg.MetadataValue]:
    """A coverage strip over ``span`` and the newest candles before its end; only what there is to draw."""
    now_ms, settle_ms = pipeline.clock.now_ms(), pipeline.policy.proof.settle_ms
    states = coverage.strip(connection, key, span, now_ms, settle_ms)
    newest = candles.newest(connection, key, span.end_ms, CHARTED)
    name = f"{key.coin} {key.interval}"
    drawn: dict[str, dg.MetadataValue] = {}
    if states:
        drawn["coverage strip"] = dg.MetadataValue.md(coverage_strip(states, f"coverage of {name}"))
    if newest:
        drawn["candle chart"] = dg.MetadataValue.md(candle_chart(newest, f"newest candles of {name}"))
    return drawn
