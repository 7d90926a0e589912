"""One row a run, from what hl.fetch holds of it; kept for 90 days."""

from __future__ import annotations

import pytest

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.performance import RunPerformance
from hl_pipeline.storage import performance
from hl_pipeline.storage.engine import Connection, Database

NOW = 1_768_046_420_000
DAY_MS = 86_400_000
ASK = """
insert into hl.fetch (endpoint, request_type, run_id, asked_at, status, rows, rejected, weight, latency_ms, refused)
values ('https://a', %s, %s, now(), %s, %s, 0, %s, %s, %s)
"""


def ask(
    connection: Connection,
    run_id: str | None,
    *latencies_ms: float,
    rows: int = 60,
    kind: str = "candleSnapshot",
    refused: int = 0,
) -> None:
    for latency_ms in latencies_ms:
        connection.execute(ASK.encode(), (kind, run_id, "landed", rows, 21, latency_ms, refused))


def fail(connection: Connection, run_id: str, refused: int = 0) -> None:
    connection.execute(ASK.encode(), ("candleSnapshot", run_id, "failed", None, None, None, refused))


def record(
    connection: Connection,
    run_id: str = "run",
    lane: str = "live",
    *,
    started_ms: int = NOW,
    seconds: float = 2.0,
    failed: int = 0,
    succeeded: bool = True,
    peak_memory_mb: float = 150.0,
    cpu_seconds: float = 1.5,
) -> RunPerformance:
    return performance.record(
        connection,
        run_id,
        lane,
        started_ms=started_ms,
        seconds=seconds,
        failed=failed,
        succeeded=succeeded,
        peak_memory_mb=peak_memory_mb,
        cpu_seconds=cpu_seconds,
    )


def test_a_run_is_what_its_own_candle_requests_were(database: Database) -> None:
    with database.connection() as connection:
        ask(connection, "run", 100, 200, 300, refused=1)
        fail(connection, "run", refused=1)
        ask(connection, "another run", 9000)
        ask(connection, "run", 9000, kind="metaAndAssetCtxs")
        ask(connection, None, 9000)
        found = record(connection, failed=1)
    assert (found.requests, found.failed, found.refused, found.weight, found.candles) == (4, 1, 4, 63, 180)
    assert found.p50_ms == 200
    assert found.p99_ms == pytest.approx(298)
    assert found.candles_per_second == pytest.approx(90)
    assert found.error_rate == 0.25


def test_a_run_that_asked_nothing_has_no_speed_and_no_latency(database: Database) -> None:
    with database.connection() as connection:
        found = record(connection)
        assert performance.newest(connection, 10) == []
    assert (found.requests, found.candles, found.candles_per_second, found.p99_ms) == (0, 0, None, None)
    assert found.error_rate == 0


def test_a_step_more_of_the_same_run_is_the_same_row(database: Database) -> None:
    with database.connection() as connection:
        ask(connection, "run", 100)
        record(connection, lane="backfill", failed=1, peak_memory_mb=300, cpu_seconds=1)
        ask(connection, "run", 300, 500)
        found = record(connection, lane="backfill", seconds=1.0, failed=2, peak_memory_mb=200, cpu_seconds=3)
        rows = connection.execute(b"select count(*) from hl.performance_history").fetchone()
    assert rows == (1,)
    assert (found.seconds, found.requests, found.failed, found.candles) == (3.0, 6, 3, 180)
    assert (found.p50_ms, found.peak_memory_mb, found.cpu_seconds) == (300, 300, 3)


def test_a_step_that_failed_makes_the_run_a_failed_one_and_no_sample(database: Database) -> None:
    with database.connection() as connection:
        ask(connection, "run", 100)
        record(connection, succeeded=False)
        record(connection)
        assert performance.newest(connection, 10) == []


def test_the_newest_runs_of_each_lane_come_first(database: Database) -> None:
    with database.connection() as connection:
        for number, lane in enumerate(("live", "gap", "backfill", "live", "live")):
            run_id = f"run {number}"
            ask(connection, run_id, 100 + number)
            record(connection, run_id, lane, started_ms=NOW + number)
        found = performance.newest(connection, 2)
    assert [(run.lane, run.p99_ms) for run in found] == [
        ("live", 104), ("live", 103), ("gap", 101), ("backfill", 102),
    ]  # fmt: skip


def test_what_is_older_than_90_days_goes_lane_by_lane(database: Database) -> None:
    with database.connection() as connection:
        record(connection, "old", started_ms=NOW - 91 * DAY_MS)
        record(connection, "old gap", "gap", started_ms=NOW - 91 * DAY_MS)
        record(connection, "kept", started_ms=NOW - 89 * DAY_MS)
        record(connection, "new")
        left = connection.execute(b"select run_id from hl.performance_history order by started_at, run_id").fetchall()
    assert left == [("old gap",), ("kept",), ("new",)]


def test_the_time_of_a_run_is_market_time(database: Database) -> None:
    with database.connection() as connection:
        record(connection)
        at = connection.execute(b"select started_at from hl.performance_history").fetchone()
    assert at == (to_datetime(NOW),)
