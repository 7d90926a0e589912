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
from hl_pipeline.model.failure import DatabaseUnavailable, ExchangeUnavailable, Superseded
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage import fetches, leases, series
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


def in_force(database: Database) -> list[str]:
    with database.connection() as connection:
        return [found.holder.split(",")[0] for found in leases.in_force(connection)]


def test_a_lease_is_in_force_while_its_holder_works_and_given_back_at_the_end(
    database: Database, clock: ManualClock
) -> None:
    with zombie(database, clock, Held(clock)):
        assert in_force(database) == ["run dead"]
        assert fill(FakeExchange(clock), database, clock, run_id="next").landed == 1
        assert in_force(database) == [], "who took over has given it back; the older one holds nothing"
    assert in_force(database) == []


def test_a_lease_is_given_back_by_a_fill_that_fails_too(database: Database, clock: ManualClock) -> None:
    exchange = FakeExchange(clock)
    exchange.error = lambda _: DatabaseUnavailable("gone")
    with pytest.raises(DatabaseUnavailable):
        fill(exchange, database, clock, run_id="dead")
    assert in_force(database) == []


def test_a_lease_of_a_killed_holder_runs_out_unless_it_says_again_that_it_works(
    database: Database, clock: ManualClock
) -> None:
    lease = Lease("run killed", "live")
    with database.connection() as connection:
        (known,) = series.load(connection)
        work = [(known.series_id, Span(NOON, NOON + MINUTE))]
        leases.claim(connection, lease, work)
        (found,) = leases.in_force(connection)
        assert (found.months, found.lane) == (1, "live")
        assert (found.held_until - found.claimed_at).total_seconds() <= leases.LENGTH_SECONDS + 1
        connection.execute("update hl.lease set held_until = clock_timestamp() - interval '1 second'")
        assert leases.in_force(connection) == []
        leases.renew(connection, Lease("run other", "live"), work)
        assert leases.in_force(connection) == [], "nobody renews what is not his"
        leases.renew(connection, lease, work)
        assert leases.in_force(connection)[0].holder == "run killed"


def test_a_fill_that_lasts_says_again_that_it_works(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(database, clock, ["BTC", "ETH"])
    monkeypatch.setattr(leases, "LENGTH_SECONDS", 0.0)  # a third of it has always passed
    renewed: list[int] = []

    class Forgetting(FakeExchange):
        def candles(self, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
            with database.connection() as connection:
                ((count,),) = connection.execute("select count(*) from hl.lease where held_until > '-infinity'")
                connection.execute("update hl.lease set held_until = '-infinity'")
            renewed.append(count)
            return super().candles(request, lane=lane)

    fill(Forgetting(clock, markets=[market("BTC"), market("ETH")]), database, clock, FillPolicy(concurrency=1))
    assert renewed == [4, 4], "two series, two months each"


def test_a_request_whose_process_was_killed_is_closed_by_the_next_run_ten_minutes_later(
    database: Database, clock: ManualClock
) -> None:
    with database.connection() as connection:
        old, young = (fetches.asked(connection, "candleSnapshot", NOON) for _ in range(2))
        connection.execute(
            "update hl.fetch set recorded_at = recorded_at - interval '11 minutes' where fetch_id = %s", [old]
        )
    fill(FakeExchange(clock), database, clock)
    with database.connection() as connection:
        rows = connection.execute(
            "select status, error from hl.fetch where fetch_id in (%s, %s) order by fetch_id", [old, young]
        ).fetchall()
    assert rows == [("failed", "the process ended before this was answered"), ("asked", None)]


def test_one_that_is_answered_after_all_is_landed(database: Database, clock: ManualClock) -> None:
    with zombie(database, clock, Held(clock)), database.connection() as connection:
        connection.execute("update hl.fetch set recorded_at = recorded_at - interval '11 minutes'")
        assert fetches.close_abandoned(connection) >= 1
    with database.connection() as connection:
        rows = connection.execute("select status, error from hl.fetch where run_id = 'dead'").fetchall()
    assert rows == [("landed", None)]
