"""hl.latest_metrics: refreshed by one at a time, read through hl.latest."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, NamedTuple

from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class LatestMetric(NamedTuple):
    """One number; ``as_of_ms`` is its own market time (ms UTC), ``source`` an interval or ``context``."""

    coin: str
    metric: str
    value: Decimal
    unit: str
    as_of_ms: int
    source: str
    confidence: float | None
    grade: str | None


class Refresh(NamedTuple):
    """What a refresh did. ``refreshed`` is false when another session was at it; the rows are then its former ones.

    ``high_confidence_rate`` is the share of metrics with confidence >= .75, null without metrics.
    """

    refreshed: bool
    rows: int
    took_ms: float
    high_confidence_rate: float | None


def refresh(connection: Connection) -> Refresh:
    """Brings the view up to date inside the caller's transaction, unless another session is doing that now."""
    started = time.perf_counter()
    mine = _one(connection.execute(query("latest_metrics_lock")).fetchone())[0]
    if mine:
        populated = _one(connection.execute(query("latest_metrics_populated")).fetchone())[0]
        connection.execute(query("latest_metrics_refresh" if populated else "latest_metrics_fill"))
    took_ms = (time.perf_counter() - started) * 1000
    rows, rate = _one(connection.execute(query("latest_metrics_count")).fetchone())
    return Refresh(bool(mine), rows, took_ms, rate)


def read(connection: Connection) -> list[LatestMetric]:
    """Every metric of every tracked market, as of the last refresh."""
    return [LatestMetric(*row) for row in connection.execute(query("latest_metrics_read"))]


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if row is None:
        raise AssertionError("a query that always returns one row returned none")
    return row
