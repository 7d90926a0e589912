"""What the status report shows and nobody else asks for: market days, series, weight by lane, confidence over time."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import Any, NamedTuple

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.model.status_page import CoverageCell, MarketDays, TrustHistory, WeightUse
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

_DAY_MS = 86_400_000


class SeriesRow(NamedTuple):
    """One series of a tracked market; slots as in the ledger, ``newest_close_ms`` null without a closed candle."""

    coin: str
    interval: Interval
    newest_close_ms: int | None
    is_over: bool
    due: int
    settled: int
    lost: int
    confidence: float | None
    grade: str | None


def market_days(connection: Connection, now_ms: int, *, days: int, settle_ms: int, period_ms: int) -> list[MarketDays]:
    """Each tracked market's last ``days`` UTC days at market time ``now_ms``, today included; by name."""
    first_ms = now_ms // _DAY_MS * _DAY_MS - (days - 1) * _DAY_MS
    rows = connection.execute(
        query("coverage_by_day"),
        {
            "starts": to_datetime(first_ms),
            "now": to_datetime(now_ms),
            "settle": timedelta(milliseconds=settle_ms),
            "grace": timedelta(milliseconds=2 * period_ms),
        },
    ).fetchall()
    return [
        MarketDays(coin, [CoverageCell(state, due, settled) for _, _, state, due, settled in found])
        for coin, found in groupby(rows, key=lambda row: str(row[0]))
    ]


def series_standing(connection: Connection, now_ms: int, settle_ms: int) -> list[SeriesRow]:
    """Each series of the tracked markets at market time ``now_ms``, by market, finest interval first."""
    moment = {"now": to_datetime(now_ms), "settle": timedelta(milliseconds=settle_ms)}
    rows = connection.execute(query("series_standing"), moment)
    return [SeriesRow(coin, Interval(interval), *rest) for coin, interval, *rest in rows]


def weight_use(connection: Connection, span: Span, step_ms: int, most: int) -> WeightUse:
    """Request weight by lane in the steps of ``span``; ``most`` is what one step may hold."""
    moment = {
        "starts": to_datetime(span.start_ms),
        "ends": to_datetime(span.end_ms),
        "step": timedelta(milliseconds=step_ms),
    }
    steps: list[dict[str, int]] = [{} for _ in range(span.length_ms // step_ms)]
    for step, lane, weight in connection.execute(query("weight_by_step"), moment):
        if step < len(steps):
            steps[step][lane] = weight
    return WeightUse(span, step_ms, most, steps)


def trust_history(connection: Connection, span: Span, step_ms: int) -> TrustHistory:
    """Mean and lowest confidence at the steps of ``span``, its end among them."""
    moment = {
        "starts": to_datetime(span.start_ms + step_ms),
        "ends": to_datetime(span.end_ms),
        "step": timedelta(milliseconds=step_ms),
    }
    rows = connection.execute(query("confidence_by_step"), moment).fetchall()
    return TrustHistory(span, [row[1] for row in rows], [row[2] for row in rows])


def newest_health(connection: Connection, now_ms: int) -> dict[str, Any] | None:
    """The newest health report of the last five minutes, as `health.report.to_json` gave it; null without one."""
    row = connection.execute(query("health_newest"), {"now": to_datetime(now_ms)}).fetchone()
    return None if row is None else dict(row[0])
