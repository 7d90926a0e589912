"""The breaker in the database: its transitions by a clock that stands still, and many at once by the server's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.endpoint import Breaker, BreakerRules, Difference, EndpointState, FailureOf
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.interval import Interval
from hl_pipeline.storage.endpoints import Compared, PostgresEndpoints, keep_disagreement, read_endpoints
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import candle

A, B = "http://a/info", "http://b/info"
NOON = 1_785_067_200_000
SECOND = 1000


class Bench:
    """Two endpoints on one clock, as two processes see them."""

    def __init__(self, database: Database) -> None:
        self.clock = ManualClock(NOON)
        self.here = PostgresEndpoints(database, clock=self.clock)
        self.there = PostgresEndpoints(database, clock=self.clock)
        self.here.ensure([A, B])

    def state(self, url: str = A) -> EndpointState:
        return next(state for state in self.there.view().states if state.url == url)

    def fail(self, times: int = 1, url: str = A) -> Breaker:
        for _ in range(times):
            self.here.failed(url, FailureOf.UNREACHABLE, "502")
        return self.state(url).breaker

    def recover(self) -> None:
        """Probes until the breaker is closed."""
        for _ in range(3):
            assert self.here.admit(A)
            self.here.answered(A)
        assert self.state().breaker is Breaker.CLOSED


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_five_errors_in_a_row_open_the_breaker_for_every_process(bench: Bench) -> None:
    assert bench.fail(4) is Breaker.CLOSED
    assert bench.fail() is Breaker.OPEN
    found = bench.state()
    assert (found.errors, found.failure, found.last_error) == (5, FailureOf.UNREACHABLE, "502")
    assert (found.opened_ms, found.next_probe_ms) == (NOON, NOON + 30 * SECOND)
    assert bench.state(B).breaker is Breaker.CLOSED


def test_an_answer_in_between_ends_the_row(bench: Bench) -> None:
    bench.fail(4)
    bench.there.answered(A)
    assert bench.fail(4) is Breaker.CLOSED
    assert bench.state().errors == 4


def test_the_probe_is_due_after_half_a_minute_and_given_once(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND - 1)
    assert not bench.there.admit(A)
    bench.clock.advance(1)
    assert [bench.here.admit(A), bench.there.admit(A)] == [True, False]
    assert bench.state().breaker is Breaker.HALF_OPEN


def test_three_probes_close_it(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND)
    for passed in range(3):
        assert bench.state().breaker is (Breaker.HALF_OPEN if passed else Breaker.OPEN)
        assert bench.there.admit(A), "after an answer the next may try at once"
        bench.there.answered(A)
    found = bench.state()
    assert (found.breaker, found.errors, found.next_probe_ms, found.probe_until_ms) == (Breaker.CLOSED, 0, None, None)


def test_a_probe_that_fails_begins_another_half_minute_not_a_longer_one(bench: Bench) -> None:
    bench.fail(5)
    for rest in range(1, 6):
        bench.clock.advance(30 * SECOND)
        assert bench.there.admit(A)
        assert bench.fail() is Breaker.OPEN
        assert bench.state().next_probe_ms == NOON + (rest + 1) * 30 * SECOND
    assert bench.state().reopens == 0


def test_a_probe_nobody_reports_on_is_given_up_after_a_minute(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND)
    assert bench.here.admit(A)
    bench.clock.advance(59 * SECOND)
    assert not bench.there.admit(A)
    bench.clock.advance(SECOND)
    assert bench.there.admit(A)


def test_a_probe_given_back_is_for_the_next_one(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND)
    assert bench.here.admit(A)
    bench.here.release(A)
    assert bench.there.admit(A)


def test_who_flaps_rests_longer_each_time_up_to_eight_minutes(bench: Bench) -> None:
    rests = []
    for _ in range(7):
        bench.fail(5)
        found = bench.state()
        assert found.next_probe_ms is not None
        rests.append((found.next_probe_ms - bench.clock.now_ms()) // SECOND)
        bench.clock.advance(rests[-1] * SECOND)
        bench.recover()
    assert rests == [30, 60, 120, 240, 480, 480, 480]


def test_who_flaps_faster_than_the_breaker_opens_is_unsteady_for_ten_minutes(bench: Bench) -> None:
    for _ in range(5):
        assert not bench.state().is_unsteady
        bench.fail()
        bench.here.answered(A)
        bench.clock.advance(59 * SECOND)
    assert (bench.state().is_unsteady, bench.state().breaker) == (True, Breaker.CLOSED)
    bench.clock.advance(500 * SECOND)
    bench.fail()
    bench.here.answered(A)
    bench.clock.advance(599 * SECOND)
    assert bench.state().is_unsteady, "one failure more, and it has to be well for ten minutes again"
    bench.clock.advance(SECOND)
    assert not bench.state().is_unsteady


def test_failures_that_are_far_apart_do_not_add_up(bench: Bench) -> None:
    for _ in range(20):
        bench.fail()
        bench.here.answered(A)
        bench.clock.advance(60 * SECOND)
    assert not bench.state().is_unsteady


def test_who_was_well_for_ten_minutes_flaps_no_more(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND)
    bench.recover()
    bench.clock.advance(600 * SECOND)
    bench.fail(5)
    assert bench.state().next_probe_ms == bench.clock.now_ms() + 30 * SECOND


def test_when_nobody_else_serves_a_long_rest_may_be_broken_after_the_first_half_minute(bench: Bench) -> None:
    bench.fail(5)
    bench.clock.advance(30 * SECOND)
    bench.recover()
    bench.fail(5)
    bench.clock.advance(29_999)
    assert not bench.here.admit(A, last_resort=True)
    bench.clock.advance(1)
    assert not bench.here.admit(A)
    assert bench.state().last_resort_ms == bench.clock.now_ms()
    assert bench.here.admit(A, last_resort=True)


def test_answers_and_errors_that_come_late_do_not_move_a_rest(bench: Bench) -> None:
    bench.fail(5)
    before = bench.state()
    bench.clock.advance(10 * SECOND)
    bench.fail(3)
    bench.here.answered(A)
    found = bench.state()
    assert (found.breaker, found.opened_ms, found.next_probe_ms) == (Breaker.OPEN, NOON, before.next_probe_ms)


def test_a_clock_that_was_set_back_does_not_leave_it_resting_for_ever(bench: Bench, database: Database) -> None:
    bench.fail(5)
    earlier = PostgresEndpoints(database, clock=ManualClock(NOON - 86_400 * SECOND))
    assert earlier.admit(A)
    latest = PostgresEndpoints(database, clock=ManualClock(NOON - 2 * 86_400 * SECOND))
    assert latest.admit(A), "the probe's lease is of a day that is not yet"
    assert bench.here.claim_probe(B, 30 * SECOND)
    assert earlier.claim_probe(B, 30 * SECOND)


def test_a_closed_endpoint_needs_no_admission(bench: Bench) -> None:
    assert not bench.here.admit(A)
    assert not bench.here.admit("http://unknown/info")


def test_a_health_probe_is_one_processs_turn_every_half_minute(bench: Bench) -> None:
    assert [bench.here.claim_probe(A, 30 * SECOND), bench.there.claim_probe(A, 30 * SECOND)] == [True, False]
    assert bench.there.claim_probe(B, 30 * SECOND)
    bench.clock.advance(30 * SECOND)
    assert bench.there.claim_probe(A, 30 * SECOND)
    bench.fail(5)
    bench.clock.advance(300 * SECOND)
    assert not bench.there.claim_probe(A, 30 * SECOND), "one that rests is probed by admission only"


def test_latency_is_smoothed_and_the_lag_is_the_last(bench: Bench) -> None:
    assert bench.here.sighted(A, 100.0, 40) is Breaker.CLOSED
    bench.here.sighted(A, 200.0, -70)
    bench.here.answered(A)
    found = bench.state()
    assert (found.latency_ms, found.lag_ms, found.probed_ms, found.answered_ms) == (130.0, -70, NOON, NOON)


def test_the_candles_are_compared_once_in_ten_minutes_whoever_is_first(bench: Bench) -> None:
    every = 600 * SECOND
    assert [bench.here.claim_comparison(A, every), bench.there.claim_comparison(A, every)] == [True, False]
    assert not bench.there.claim_comparison(B, every)
    bench.clock.advance(every)
    assert [bench.there.claim_comparison(B, every), bench.here.claim_comparison(A, every)] == [True, False]


def test_a_disagreement_is_kept_with_both_values_and_since_when(bench: Bench, database: Database) -> None:
    found = [Difference(NOON, candle(NOON, "1.5"), candle(NOON, "1.6")), Difference(NOON + 60_000, None, candle(NOON))]
    with database.connection() as connection:
        keep_disagreement(connection, A, B, SeriesKey("BTC", Interval.M1), found, NOON + 90_000)
        bench.here.compared(connection, [Compared(A, 0, False), Compared(B, 120_000, True)])
    bench.clock.advance(5 * SECOND)
    with database.connection() as connection:
        bench.here.compared(connection, [Compared(B, 0, True)])
        rows = connection.execute(
            "select primary_candle ->> 'c', other_candle ->> 'c', coin, interval from hl.endpoint_disagreement"
            " order by open_time"
        ).fetchall()
    assert rows == [("1.5", "1.6", "BTC", "1m"), (None, "100.5", "BTC", "1m")]
    assert bench.state(B).disagrees_since_ms == NOON
    assert (bench.state(B).candle_lag_ms, bench.state(A).disagrees_since_ms) == (0, None)
    with database.connection() as connection:
        bench.here.compared(connection, [Compared(B, 0, False)])
    assert bench.state(B).disagrees_since_ms is None


def test_another_list_keeps_the_history_of_who_left(bench: Bench) -> None:
    bench.fail(5)
    bench.here.ensure([B])
    assert [state.url for state in bench.there.view().states] == [B]
    bench.here.ensure([B, A])
    assert [(state.url, state.priority, state.breaker) for state in bench.there.view().states] == [
        (B, 0, Breaker.CLOSED),
        (A, 1, Breaker.OPEN),
    ]


def test_before_anybody_was_asked_there_is_nobody(database: Database) -> None:
    with database.connection() as connection:
        assert read_endpoints(connection).states == ()
    PostgresEndpoints(database).failed(A, FailureOf.UNREACHABLE, "502")
    assert PostgresEndpoints(database).view().states == ()


def test_a_long_error_is_cut(bench: Bench) -> None:
    bench.here.failed(A, FailureOf.BAD_ANSWER, "x" * 10_000)
    assert len(bench.state().last_error or "") == 500


def test_of_many_at_once_exactly_one_gets_the_probe(database: Database) -> None:
    endpoints = PostgresEndpoints(database, BreakerRules(open_ms=0))
    endpoints.ensure([A])
    for _ in range(5):
        endpoints.failed(A, FailureOf.UNREACHABLE, "502")
    for _ in range(10):
        together = threading.Barrier(8)

        def rush(_: int, together: threading.Barrier = together) -> bool:
            together.wait()
            return endpoints.admit(A)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(rush, range(8))) == 1
        endpoints.release(A)


def test_no_error_of_many_at_once_is_forgotten(database: Database) -> None:
    endpoints = PostgresEndpoints(database, BreakerRules(errors_to_open=41))
    endpoints.ensure([A])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: endpoints.failed(A, FailureOf.UNREACHABLE, "502"), range(40)))
        assert endpoints.view().states[0].errors == 40
        assert endpoints.view().states[0].breaker is Breaker.CLOSED
        list(pool.map(lambda _: endpoints.failed(A, FailureOf.UNREACHABLE, "502"), range(8)))
    found = endpoints.view().states[0]
    assert (found.breaker, found.errors, found.reopens) == (Breaker.OPEN, 48, 0)


def test_no_probe_of_many_at_once_counts_twice(database: Database) -> None:
    endpoints = PostgresEndpoints(database, BreakerRules(open_ms=0, successes_to_close=10))
    endpoints.ensure([A])
    for _ in range(5):
        endpoints.failed(A, FailureOf.UNREACHABLE, "502")
    passed = []

    def probe(_: int) -> None:
        if endpoints.admit(A):
            passed.append(1)
            endpoints.answered(A)

    with ThreadPoolExecutor(8) as pool:
        while endpoints.view().states[0].breaker is not Breaker.CLOSED:
            list(pool.map(probe, range(8)))
    assert len(passed) == 10


def test_without_a_database_nobody_knows() -> None:
    with Database("postgresql://nobody@127.0.0.1:1/none", connect_timeout_seconds=1) as down:
        endpoints = PostgresEndpoints(down)
        with pytest.raises(DatabaseUnavailable):
            endpoints.view()
        with pytest.raises(DatabaseUnavailable):
            endpoints.answered(A)
