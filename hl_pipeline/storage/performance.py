"""hl.performance_history: how each run of the live, gap and back-fill lanes fared."""

from __future__ import annotations

from datetime import timedelta

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.performance import RunPerformance, RunSample
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

KEPT = timedelta(days=90)


def record(
    connection: Connection,
    run_id: str,
    lane: str,
    *,
    started_ms: int,
    seconds: float,
    failed: int,
    succeeded: bool,
    peak_memory_mb: float,
    cpu_seconds: float,
) -> RunPerformance:
    """Keep how a run, or one more step of it, fared; returns the run as it stands. Older rows of the lane are dropped.

    Requests, weight and latencies are read from hl.fetch. ``started_ms`` is market time (ms UTC); ``failed`` counts
    the step's requests that were sent and got no usable answer; memory and processor time are the process's own.
    """
    started_at = to_datetime(started_ms)
    connection.execute(query("performance_forget"), {"lane": lane, "before": started_at - KEPT})
    row = connection.execute(
        query("performance_record"),
        {
            "run_id": run_id,
            "lane": lane,
            "started_at": started_at,
            "seconds": seconds,
            "failed": failed,
            "succeeded": succeeded,
            "peak_memory_mb": peak_memory_mb,
            "cpu_seconds": cpu_seconds,
        },
    ).fetchone()
    assert row is not None  # noqa: S101  # insert ... returning always gives its row
    return RunPerformance(*row)


def newest(connection: Connection, most: int) -> list[RunSample]:
    """The newest runs of each lane that asked something and ended well, at most so many a lane, newest first."""
    return [RunSample(*row) for row in connection.execute(query("performance_newest"), {"most": most})]
