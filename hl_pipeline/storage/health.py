"""The numbers behind the health report, on one connection; and hl.system_health_log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from hl_pipeline.model.dead_letter import DeadLetterTally
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.redact import redact
from hl_pipeline.model.vitals import DeliveryVitals, IntervalVitals, Standing, TrustVitals, Vitals
from hl_pipeline.storage import alerts, dead_letters, gaps, stream, vanished
from hl_pipeline.storage.endpoints import read_endpoints
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

T = TypeVar("T")


class Meter:
    """Takes one group of numbers after another; without a deadline, one that fails raises what psycopg raises.

    With one (``until``, as ``time.monotonic`` counts) a group that fails is named in ``unmeasured`` with the reason
    and the rest go on, but none begins later.
    """

    def __init__(self, connection: Connection, until: float | None = None) -> None:
        self._connection = connection
        self._until = until
        self.unmeasured: dict[str, str] = {}

    def take(self, group: str, instead: T, measure: Callable[[], T]) -> T:
        """What ``measure`` says; ``instead`` when it fails or no time is left, and there is a deadline."""
        if self._until is None:
            return measure()
        if time.monotonic() > self._until:
            self.unmeasured[group] = "the database was too slow, no time was left for this"
            return instead
        try:
            with self._connection.transaction():  # a savepoint: the next group reads on
                return measure()
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            self.unmeasured[group] = redact(str(error).strip().split("\n")[0])
            return instead


def gather(
    connection: Connection,
    now_ms: int,
    period_s: float,
    settle_s: float = 10.0,
    *,
    budget_clock_ms: int | None = None,
    expects_stream: bool = False,
    meter: Meter | None = None,
) -> Vitals:
    """Every number of the database that the report needs at market time ``now_ms`` (ms UTC). Reads only.

    ``expects_stream``: one is to run. ``budget_clock_ms`` is the clock the weight budget is kept on, when that is not
    the server's own. ``meter`` may bear what cannot be measured.
    """
    started = time.perf_counter()
    markets = _row(connection, "health_ping", {})[0]
    database_ms = (time.perf_counter() - started) * 1000
    moment = {"now": to_datetime(now_ms)}
    clock = {"clock": None if budget_clock_ms is None else to_datetime(budget_clock_ms)}
    settle_ms, period_ms = round(settle_s * 1000), round(period_s * 1000)
    meter = meter or Meter(connection)
    take = meter.take
    fetches, failed, limited, p50_ms, p99_ms, last_landed_ms = take(
        "requests", (0, 0, 0, None, None, None), lambda: _row(connection, "health_fetches", moment)
    )
    budget = take("budget", None, lambda: connection.execute(query("health_budget"), clock).fetchone())
    candles, broken = take("contract", (0, 0), lambda: _row(connection, "health_contract", moment))
    estimated = take("candles", 0, lambda: int(_row(connection, "health_candle_estimate", {})[0]))
    vitals = Vitals(
        now_ms=now_ms,
        period_s=period_s,
        settle_s=settle_s,
        markets=markets,
        database_ms=database_ms,
        candles_estimated=max(candles, estimated),
        candles_recent=candles,
        rows_breaking_contract=broken,
        fetches=fetches,
        fetches_failed=failed,
        fetches_limited=limited,
        fetch_p50_ms=p50_ms,
        fetch_p99_ms=p99_ms,
        last_landed_ms=last_landed_ms,
        budget_max=budget[0] if budget else None,
        budget_spent=budget[1] if budget else 0,
        budget_refused_since_s=budget[2] if budget else None,
        intervals=take("coverage", {}, lambda: _intervals(connection, moment, period_s, settle_s)),
        endangered=take(
            "deadlines",
            None,
            lambda: gaps.endangered(connection, now_ms, settle_ms=settle_ms, period_ms=period_ms),
        ),
        losing_series=take("coverage", 0, lambda: alerts.count_open(connection, "slots_lost")),
        expects_stream=expects_stream,
    )
    return _with_the_rest(vitals, connection, meter)


def _with_the_rest(vitals: Vitals, connection: Connection, meter: Meter) -> Vitals:
    """Also what is not of candles and requests: findings that people act on, ways to the exchange, trust, notices."""
    take = meter.take
    return replace(
        vitals,
        vanished=take("vanished", [], lambda: vanished.vanished(connection, vitals.now_ms)),
        dead_letters=take("dead_letters", DeadLetterTally(), lambda: dead_letters.tally(connection)),
        endpoints=take("endpoints", (), lambda: read_endpoints(connection).states),
        stream=take("stream", None, lambda: stream.state(connection)),
        trust=take("trust", None, lambda: _trust(connection)),
        delivery=take("delivery", None, lambda: _delivery(connection, vitals.now_ms)),
        standing=take("standing", None, lambda: Standing(*_row(connection, "health_standing", {}))),
        unmeasured=meter.unmeasured,
    )


def _trust(connection: Connection) -> TrustVitals:
    series, mean = _row(connection, "health_trust", {})
    populated = _row(connection, "latest_metrics_populated", {})[0]  # after a restore it may not be, and then refuses
    metrics, rate = _row(connection, "latest_metrics_count", {}) if populated else (0, None)
    return TrustVitals(series, mean, metrics, rate)


def _delivery(connection: Connection, now_ms: int) -> DeliveryVitals:
    return DeliveryVitals(*_row(connection, "health_delivery", {"now": to_datetime(now_ms)}))


def log(connection: Connection, now_ms: int, status: str, score: int, report: dict[str, Any]) -> None:
    """Keeps one report: its status (healthy, degraded, unhealthy, unknown), its score (0 to 100), and the whole."""
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
