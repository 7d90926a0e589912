"""A process that was taken for dead lives on and lands its answer: refused, whatever it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable, Superseded
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage import leases, series
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.leases import Lease
from hl_pipeline_tests.fakes import FakeExchange, market

MINUTE = 60_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


class Held(FakeExchange):
    """Answers at once, but lets nobody have the answer before ``release`` is set."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, markets=[market("BTC"), market("ETH")])
        self.asked, self.release = threading.Event(), threading.Event()

    def candles(self, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        try:
            return super().candles(request, lane=lane)
        finally:
            self.asked.set()
            assert self.release.wait(30)


@contextmanager
def zombie(database: Database, clock: ManualClock, exchange: Held, lane: str = "live") -> Iterator[list[FillReport]]:
    """A fill whose first answer arrives when the block ends; its report is then in the list."""
    reports: list[FillReport] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fill, exchange, database, clock, FillPolicy(concurrency=1, lane=lane), run_id="dead")
        assert exchange.asked.wait(30)
        try:
            yield reports
        finally:
            exchange.release.set()
        reports.append(running.result(30))


@pytest.fixture
def clock(database: Database) -> ManualClock:
    """The clock of a market that is tracked and was never asked for."""
    clock = ManualClock(NOON + 20_000)
    track(database, clock, ["BTC"])
    return clock


def track(database: Database, clock: ManualClock, coins: list[str]) -> None:
    universe = FakeExchange(clock, markets=[market("BTC"), market("ETH")])
    refresh_markets(universe, database, clock, coins=coins, intervals=[Interval.M1])


def content(database: Database) -> list[tuple[object, ...]]:
    with database.connection() as connection:
        assert series.violations(connection) == []
        return [
            *connection.execute("select open_time, close, trades, finality, fetch_id from hl.candle order by 1"),
            *connection.execute("select month, final, empty, lost from hl.coverage order by 1"),
            *connection.execute("select slots, reason, attempts from hl.gap order by 1"),
            *connection.execute("select known_until, first_open, last_asked_at from hl.series"),
        ]


def test_the_answer_of_a_run_that_another_took_over_from_is_refused(database: Database, clock: ManualClock) -> None:
    with zombie(database, clock, Held(clock)) as reports:
        clock.advance(MINUTE)
        assert fill(FakeExchange(clock), database, clock, run_id="next").landed == 1
        before = content(database)
    (report,) = reports
    assert (report.planned, report.landed, report.superseded, report.failures) == (1, 0, 1, [])
    assert content(database) == before
    with database.connection() as connection:
        ((error,),) = connection.execute("select error from hl.fetch where status = 'failed' and run_id = 'dead'")
    assert "was taken over by run next" in error


def test_a_failure_of_such_a_run_is_not_written_either(database: Database, clock: ManualClock) -> None:
    late = Held(clock)
    late.error = lambda _: ExchangeUnavailable("connection refused")
    with zombie(database, clock, late) as reports:
        fill(FakeExchange(clock), database, clock, run_id="next")
        before = content(database)
    assert reports[0].superseded == 1
    assert content(database) == before


def test_once_refused_it_asks_for_nothing_more_that_is_anothers(database: Database, clock: ManualClock) -> None:
    track(database, clock, ["BTC", "ETH"])
    late = Held(clock)
    with zombie(database, clock, late) as reports:
        assert fill(FakeExchange(clock), database, clock, run_id="next").landed == 2
    assert (reports[0].superseded, len(late.requests)) == (2, 1)


def test_what_nobody_took_over_still_lands(database: Database, clock: ManualClock) -> None:
    track(database, clock, ["BTC", "ETH"])
    with zombie(database, clock, Held(clock)) as reports:
        assert fill(FakeExchange(clock), database, clock, run_id="next", coins=["BTC"]).landed == 1
    assert (reports[0].superseded, reports[0].landed) == (1, 1)


@pytest.mark.parametrize("lane", ["gap", "urgent_gap", "backfill"])
def test_lanes_work_side_by_side_and_their_answers_both_count(
    database: Database, clock: ManualClock, lane: str
) -> None:
    with zombie(database, clock, Held(clock), lane) as reports:
        clock.advance(MINUTE)
        assert fill(FakeExchange(clock), database, clock, run_id="live").landed == 1
        newest = content(database)[-1]
    assert (reports[0].superseded, reports[0].landed) == (0, 1)
    assert content(database)[-1] == newest, "the older answer takes nothing back"


def test_a_claim_waits_for_the_landing_under_way_and_then_holds(database: Database, clock: ManualClock) -> None:
    first, second = Lease("first", "live"), Lease("second", "live")
    with database.connection() as connection:
        (known,) = series.load(connection)
        work = [(known.series_id, Span(NOON, NOON + MINUTE))]
        assert leases.claim(connection, first, work) == 0
    with ThreadPoolExecutor(1) as pool:
        with database.connection() as connection:
            leases.hold(connection, first, *work[0])
            with database.connection() as other:
                other.execute("set local lock_timeout = '50ms'")
                with pytest.raises(Exception, match="lock timeout"):
                    leases.claim(other, second, work)
            waiting = pool.submit(claim_alone, database, second, work)
        assert waiting.result(30) == 1
    with database.connection() as connection, pytest.raises(Superseded, match=r"taken over by second \(epoch 2\)"):
        leases.hold(connection, first, *work[0])


def claim_alone(database: Database, lease: Lease, work: list[tuple[int, Span]]) -> int:
    with database.connection() as connection:
        return leases.claim(connection, lease, work)


def test_the_months_of_a_claim_are_those_its_span_touches(database: Database, clock: ManualClock) -> None:
    with database.connection() as connection:
        (known,) = series.load(connection)
        a_month = Span(NOON, NOON + 31 * 24 * 60 * MINUTE)
        leases.claim(connection, Lease("a", "backfill"), [(known.series_id, a_month)])
        leases.claim(connection, Lease("a", "live"), [(known.series_id, Span(NOON, NOON + MINUTE))])
        months = connection.execute("select to_char(month, 'YYYY-MM'), lane from hl.lease order by 2, 1").fetchall()
    assert months == [("2026-01", "backfill"), ("2026-02", "backfill"), ("2026-01", "live")]
