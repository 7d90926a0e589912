"""The numbers behind the health report, on one connection; and hl.system_health_log."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.vitals import IntervalVitals, Vitals
from hl_pipeline.storage import alerts, dead_letters, gaps, stream, vanished
from hl_pipeline.storage.endpoints import read_endpoints
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def gather(
    connection: Connection,
    now_ms: int,
    period_s: float,
    settle_s: float = 10.0,
    *,
    budget_clock_ms: int | None = None,
    expects_stream: bool = False,
) -> Vitals:
    """Every number the report needs at market time ``now_ms`` (ms UTC). Reads only.

    ``expects_stream``: one is to run. ``budget_clock_ms`` is the clock the weight budget is kept on, when that is not
    the server's own.
    """
    started = time.perf_counter()
    markets = _row(connection, "health_ping", {})[0]
    database_ms = (time.perf_counter() - started) * 1000
    moment = {"now": to_datetime(now_ms)}
    fetches, failed, limited, p50_ms, p99_ms, last_landed_ms = _row(connection, "health_fetches", moment)
    clock = None if budget_clock_ms is None else to_datetime(budget_clock_ms)
    budget = connection.execute(query("health_budget"), {"clock": clock}).fetchone() or (None, 0, None)
    candles, broken = _row(connection, "health_contract", moment)
    return Vitals(
        now_ms=now_ms,
        period_s=period_s,
        settle_s=settle_s,
        markets=markets,
        database_ms=database_ms,
        candles_estimated=max(candles, _row(connection, "health_candle_estimate", {})[0]),
        candles_recent=candles,
        rows_breaking_contract=broken,
        fetches=fetches,
        fetches_failed=failed,
        fetches_limited=limited,
        fetch_p50_ms=p50_ms,
        fetch_p99_ms=p99_ms,
        last_landed_ms=last_landed_ms,
        budget_max=budget[0],
        budget_spent=budget[1],
        budget_refused_since_s=budget[2],
        intervals=_intervals(connection, moment, period_s, settle_s),
        endangered=gaps.endangered(
            connection, now_ms, settle_ms=round(settle_s * 1000), period_ms=round(period_s * 1000)
        ),
        losing_series=alerts.count_open(connection, "slots_lost"),
        vanished=vanished.vanished(connection, now_ms),
        dead_letters=dead_letters.tally(connection),
        endpoints=read_endpoints(connection).states,
        stream=stream.state(connection),
        expects_stream=expects_stream,
    )


def log(connection: Connection, now_ms: int, status: str, score: int, report: dict[str, Any]) -> None:
    """Keeps one report: its status (healthy, degraded, unhealthy), its score 0 to 100, and all of it as JSON."""
    parameters = {"now": to_datetime(now_ms), "status": status, "score": score, "report": Jsonb(report)}
    connection.execute(query("health_log"), parameters)


def _intervals(
    connection: Connection, moment: dict[str, Any], period_s: float, settle_s: float
) -> dict[Interval, IntervalVitals]:
    settle = {**moment, "settle": timedelta(seconds=settle_s)}
    grace = {**moment, "grace": timedelta(seconds=2 * period_s)}
    fresh = {row[0]: row[1:] for row in connection.execute(query("health_freshness"), moment)}
    waits = {row[0]: row[1:] for row in connection.execute(query("health_gaps"), grace)}
    found: dict[Interval, IntervalVitals] = {}
    for interval, _, due, final, empty, lost, *_ in connection.execute(query("coverage_by_interval"), settle):
        series, newest_close_ms, stalest, without_candle = fresh.get(interval, (0, None, None, 0))
        overdue, waiting = waits.get(interval, (0, 0))
        found[Interval(interval)] = IntervalVitals(
            Interval(interval), series, newest_close_ms, stalest, without_candle,
            due, final, empty, lost, overdue, waiting,
        )  # fmt: skip
    return found


def _row(connection: Connection, name: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(query(name), parameters).fetchone()
    if row is None:
        raise AssertionError(f"{name} always returns one row, and returned none")
    return row
