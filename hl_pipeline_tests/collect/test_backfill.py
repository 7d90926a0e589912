"""A back-fill that waits for its weight, on a real Postgres."""

from __future__ import annotations

import itertools

import pytest

from hl_pipeline.collect.backfill import IDLE_ROUNDS, backfill, joined
from hl_pipeline.collect.fill import FillPolicy, FillReport
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted, ExchangeUnavailable, PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market, series

#: 2026-01-10T12:00:20Z
NOW = 1_768_046_420_000
INTERVALS = (Interval.M15, Interval.H1, Interval.H4, Interval.D1)


@pytest.fixture
def exchange(database: Database) -> FakeExchange:
    clock = ManualClock(NOW)
    made = FakeExchange(clock, markets=[market("BTC")])
    refresh_markets(made, database, clock, coins=("BTC",), intervals=INTERVALS)
    return made


def run(exchange: FakeExchange, database: Database) -> tuple[FillReport, list[tuple[int, int]]]:
    """The report, and how many requests were said to be done of how many along the way."""
    told: list[tuple[int, int]] = []
    report = backfill(
        exchange,
        database,
        exchange.clock,
        FillPolicy(lane="backfill", concurrency=1),
        coins=("BTC",),
        intervals=INTERVALS,
        window=Span(NOW - 30 * 86_400_000, NOW),
        on_progress=lambda report: told.append((report.landed, report.planned)),
    )
    return report, told


def test_it_goes_on_when_weight_was_short_and_asks_for_nothing_twice(
    exchange: FakeExchange, database: Database
) -> None:
    turn = itertools.count()

    def every_other(_: CandleRequest) -> PipelineError | None:
        return BudgetExhausted("none is left") if next(turn) % 2 else None

    exchange.error = every_other
    report, told = run(exchange, database)
    assert (report.planned, report.landed, report.skipped) == (4, 4, 0)
    assert max(told) == (4, 4)
    assert all(done <= planned == 4 for done, planned in told)
    answered = [request.series for number, request in enumerate(exchange.requests) if number % 2 == 0]
    assert len(answered) == len(set(answered)) == 4


def test_a_later_round_leaves_alone_what_failed_or_was_absent_in_an_earlier_one(
    exchange: FakeExchange, database: Database
) -> None:
    exchange.hidden.add((series("BTC", Interval.H1), Interval.H1.floor(NOW) - 5 * Interval.H1.milliseconds))
    turn = itertools.count()

    def trouble(request: CandleRequest) -> PipelineError | None:
        if request.series.interval is Interval.H4:
            return ExchangeUnavailable("down")
        return BudgetExhausted("none is left") if next(turn) % 2 else None

    exchange.error = trouble
    report, _ = run(exchange, database)
    assert (report.landed, len(report.failures), report.skipped) == (3, 1, 0)
    assert [request.series.interval for request in exchange.requests].count(Interval.H4) == 1


def test_it_gives_up_when_no_request_gets_any_weight(exchange: FakeExchange, database: Database) -> None:
    exchange.error = lambda _: BudgetExhausted("none is left")
    report, _ = run(exchange, database)
    assert (report.planned, report.landed, report.skipped) == (4, 0, 1)
    assert len(exchange.requests) == IDLE_ROUNDS


def test_two_rounds_add_up() -> None:
    one = FillReport(planned=4, landed=1, skipped=1, weight=21, received=5, failures=["x"], coins_failed={"A"})
    two = FillReport(planned=2, landed=2, weight=40, received=9, failures=["y"], coins_failed={"B"})
    assert joined(one, two) == FillReport(
        planned=4, landed=3, skipped=0, weight=61, received=14, failures=["x", "y"], coins_failed={"A", "B"}
    )
