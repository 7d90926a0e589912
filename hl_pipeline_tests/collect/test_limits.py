"""A run that grew too large ends between two answers: what landed stays, nothing is a failure, the next one goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hl_pipeline.collect.backfill import backfill
from hl_pipeline.collect.drain import drain
from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.limits import process_use, within_memory
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.stream_writer import memory_bytes
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import MemoryLimitReached, TryAgain
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage import leases
from hl_pipeline.storage import series as series_table
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
INTERVALS = (Interval.H1, Interval.H4, Interval.D1)
DAY_MS = 86_400_000


class Growth:
    """Memory that grows with each look, in MB."""

    def __init__(self, *held_mb: int) -> None:
        self.held_mb = list(held_mb)

    def __call__(self) -> int:
        return 1_000_000 * (self.held_mb.pop(0) if len(self.held_mb) > 1 else self.held_mb[0])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON + 20_000)


@pytest.fixture
def exchange(clock: ManualClock, database: Database) -> FakeExchange:
    found = FakeExchange(clock, history_start_ms=NOON - 60 * DAY_MS, markets=[market("BTC"), market("ETH")])
    refresh_markets(found, database, clock, coins=("BTC", "ETH"), intervals=INTERVALS)
    return found


def nothing_left_behind(database: Database) -> None:
    """No failure, no request without an end, no lease, no broken ledger."""
    with database.connection() as connection:
        assert series_table.violations(connection) == []
        assert leases.in_force(connection) == []
        asked = connection.execute(
            b"select status, count(*) from hl.fetch where coin is not null group by 1"
        ).fetchall()
        assert dict(asked).keys() == {"landed"}
        assert connection.execute(b"select count(*) from hl.fetch_failure").fetchone() == (0,)


def test_a_fill_over_the_limit_keeps_what_landed_and_the_next_one_goes_on(
    exchange: FakeExchange, database: Database, clock: ManualClock
) -> None:
    policy = FillPolicy(concurrency=1)
    with pytest.raises(MemoryLimitReached) as ended:
        fill(exchange, database, clock, policy, on_progress=within_memory(600, Growth(500, 601)))
    assert "holds 601 MB" in str(ended.value)
    assert "may hold 600 (HL_RUN_MEMORY_MB)" in str(ended.value)
    assert "ended after 2 of 6 answers" in str(ended.value)
    assert isinstance(ended.value, TryAgain)
    asked = len(exchange.requests)
    assert 2 <= asked < 6, "one may have begun before the others were called off"
    nothing_left_behind(database)
    report = fill(exchange, database, clock, policy, on_progress=within_memory(600, Growth(500)))
    assert report.landed == report.planned == 6 - asked
    nothing_left_behind(database)


def test_with_requests_side_by_side_those_under_way_land_and_no_other_begins(
    exchange: FakeExchange, database: Database, clock: ManualClock
) -> None:
    with pytest.raises(MemoryLimitReached):
        fill(exchange, database, clock, FillPolicy(concurrency=3), on_progress=within_memory(600, Growth(601)))
    assert 1 <= len(exchange.requests) < 6
    nothing_left_behind(database)


def test_a_run_over_the_limit_from_the_start_still_gets_somewhere_each_time(
    exchange: FakeExchange, database: Database, clock: ManualClock
) -> None:
    runs = 0
    while True:
        try:
            fill(exchange, database, clock, FillPolicy(concurrency=1), on_progress=within_memory(600, Growth(999)))
        except MemoryLimitReached:
            runs += 1
            assert runs <= 6
        else:
            break
    assert 1 < runs <= 6
    assert len(exchange.requests) == 6
    nothing_left_behind(database)


def test_back_fills_and_drains_end_so_too(exchange: FakeExchange, database: Database, clock: ManualClock) -> None:
    window = Span(NOON - 40 * DAY_MS, NOON)
    limit = within_memory(600, Growth(601))
    with pytest.raises(MemoryLimitReached):
        backfill(
            exchange, database, clock, FillPolicy(concurrency=1, lane="backfill"),
            coins=["BTC"], intervals=INTERVALS, window=window, on_progress=limit,
        )  # fmt: skip
    asked = len(exchange.requests)
    assert 1 <= asked < 6
    with pytest.raises(MemoryLimitReached):
        drain(exchange, database, clock, FillPolicy(concurrency=1), on_progress=limit)
    assert asked < len(exchange.requests) < 6
    nothing_left_behind(database)


def test_under_the_limit_nothing_happens() -> None:
    within_memory(600, Growth(600))(FillReport())
    within_memory(1_000_000)(FillReport())


def test_a_process_knows_what_it_holds_and_what_it_took() -> None:
    use = process_use()
    assert use.peak_memory_mb >= memory_bytes() / 1_000_000 * 0.9
    assert use.cpu_seconds > 0
    assert process_use().cpu_seconds >= use.cpu_seconds


def test_the_most_memory_is_the_programs_own_and_not_that_of_who_started_it() -> None:
    ballast = bytearray(400_000_000)
    code = "from hl_pipeline.collect.limits import process_use; print(process_use().peak_memory_mb)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process_use().peak_memory_mb > 400
    assert float(child.stdout) < 300
    assert len(ballast) == 400_000_000
