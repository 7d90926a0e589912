"""What the service levels are judged by: counts over a window, one statement each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.service_level import Measured, Objective
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

#: A slot counts for coverage once it closed so long ago: until then it may still be on its way.
COVERAGE_GRACE = timedelta(minutes=15)


def measure(
    connection: Connection, now_ms: int, length: timedelta, objectives: Mapping[str, Objective]
) -> dict[str, Measured]:
    """Every objective over the window that ended at market time ``now_ms`` (ms UTC) and was ``length`` long.

    The bounds of single events are the objectives'. Latency goes by the server's own clock.
    """
    now = to_datetime(now_ms)
    window = {"now": now, "since": now - length}

    def row(name: str, **more: Any) -> tuple[Any, ...]:
        found = connection.execute(query(name), {**window, **more}).fetchone()
        assert found is not None  # noqa: S101  # each of them counts, and a count always gives its row
        return found

    requests, failed = row("service_requests")
    receiving, slow_runs, speed, runs, large, peak_mb = row(
        "service_runs",
        slowest=objectives["throughput"].bound,
        most_memory_mb=objectives["memory"].bound,
    )
    answered, slow, p99_ms = row("service_latency", length=length, slowest_ms=objectives["latency"].bound)
    due, here = row("service_coverage", until=now - COVERAGE_GRACE)
    minutes, fresh = row("service_freshness")
    scored, high = row("service_confidence", least=objectives["confidence"].bound)
    repaired, late, mean_s, overdue = row("service_repairs", slowest=timedelta(minutes=objectives["repair"].bound))
    return {
        "throughput": Measured(receiving, slow_runs, speed),
        "latency": Measured(answered, slow, p99_ms),
        "errors": Measured(requests, failed, _percent(failed, requests)),
        "coverage": Measured(due, due - here, _percent(here, due)),
        "freshness": Measured(minutes, minutes - fresh, _percent(fresh, minutes)),
        "confidence": Measured(scored, scored - high, _percent(high, scored)),
        "repair": Measured(repaired + overdue, late + overdue, None if mean_s is None else mean_s / 60),
        "memory": Measured(runs, large, peak_mb),
    }


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
