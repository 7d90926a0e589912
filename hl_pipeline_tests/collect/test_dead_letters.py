"""Windows that fail for good: laid aside, never in the way of others, told of until they are answered or lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hl_pipeline.collect.dead_letters import retry_and_drain
from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import CandleAnswer, CandleRequest, RejectedRow
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.dead_letter import DeadLetter, FailureKind, Outcome
from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable, PipelineError, RequestRefused
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage import dead_letters
from hl_pipeline.storage import series as series_table
from hl_pipeline.storage.alerts import OpenAlert, open_alerts
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
BAD = BadAnswer("the body is not JSON; asking again may help")
Trouble = Callable[[CandleRequest], PipelineError | None]


class RefusingExchange(FakeExchange):
    """Sends rows of ``spoilt`` slots that break a rule, inside otherwise good answers."""

    spoilt: frozenset[int] = frozenset()
    spoilt_coins: tuple[str, ...] = ("ETH",)

    def candles(self, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        spoilt = self.spoilt if request.series.coin in self.spoilt_coins else ()
        bad = [at for at in spoilt if request.start_ms <= at < request.end_ms]
        self.rejected = [RejectedRow(0, "a price is a positive decimal", "NaN", "{}") for _ in bad]
        self.hidden = {(request.series, at) for at in bad}
        return super().candles(request, lane=lane)


class Bench:
    """Two tracked markets, an exchange that fails on request, and a clock to tick."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(NOON + 20_000)
        self.exchange = RefusingExchange(self.clock, markets=[market("BTC"), market("ETH")])
        refresh_markets(self.exchange, database, self.clock, coins=["BTC", "ETH"], intervals=[Interval.M1])
        self.fill()

    def fill(self, window: Span | None = None) -> FillReport:
        return fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=1), window=window)

    def check(self) -> None:
        with self.database.connection() as connection:
            assert series_table.violations(connection) == []
            assert dead_letters.violations(connection) == []

    def tick(self, times: int, minutes: int = 1) -> None:
        """So many fills, one each time so many minutes went by."""
        for _ in range(times):
            self.clock.advance(minutes * MINUTE)
            self.fill()
        self.check()

    def letters(self, *, only_open: bool = True) -> list[DeadLetter]:
        with self.database.connection() as connection:
            return dead_letters.letters(connection, only_open=only_open)

    def retry(self) -> int:
        with self.database.connection() as connection:
            return dead_letters.retry(connection, self.clock.now_ms())

    def alerts(self) -> list[OpenAlert]:
        with self.database.connection() as connection:
            return [alert for alert in open_alerts(connection) if alert.rule == "dead_letter"]

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()

    def asked(self, coin: str) -> list[CandleRequest]:
        return [request for request in self.exchange.requests if request.series.coin == coin]


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def on_eth(error: PipelineError) -> Trouble:
    return lambda request: error if request.series.coin == "ETH" else None


def on_slot(at_ms: int, error: PipelineError = BAD) -> Trouble:
    return lambda request: (
        error if request.series.coin == "ETH" and request.start_ms <= at_ms < request.end_ms else None
    )


def test_a_market_that_only_sends_bad_bodies_is_one_letter_and_soon_costs_next_to_nothing(bench: Bench) -> None:
    bench.exchange.error = on_eth(BAD)
    bench.tick(11)
    (letter,) = bench.letters()
    assert (letter.key.coin, letter.kind, letter.outcome) == ("ETH", FailureKind.BAD_ANSWER, Outcome.OPEN)
    assert letter.waiting == letter.slots
    assert letter.request["req"]["coin"] == "ETH"
    before = len(bench.asked("ETH"))
    bench.tick(90)
    assert len(bench.asked("ETH")) - before <= 12
    assert len(bench.letters()) == 1, "it grows, it does not multiply"
    assert bench.rows("select count(*) from hl.gap join hl.series using (series_id) where market_id = 1") == [(0,)]
    (alert,) = bench.alerts()
    assert "ETH 1m" in alert.summary
    assert f"hl dlq show {letter.number}" in alert.next_step


def test_when_such_a_market_answers_again_the_newest_candles_come_by_themselves(bench: Bench) -> None:
    bench.exchange.error = on_eth(BAD)
    bench.tick(60)
    bench.exchange.error = lambda _: None
    bench.tick(16, 2)
    (letter,) = bench.letters()
    gaps = bench.rows("select is_dead, hl.epoch_ms(lower(slots)), hl.epoch_ms(upper(slots)) from hl.gap order by slots")
    assert gaps[0][1] == letter.waiting.spans[0].start_ms
    assert all(is_dead for is_dead, *_ in gaps), "what is not dead came by itself"


def test_one_bad_slot_holds_up_the_live_edge_for_minutes_and_then_nothing(bench: Bench) -> None:
    poison = NOON
    bench.exchange.error = on_slot(poison)
    bench.tick(15)
    (letter,) = bench.letters()
    assert poison in letter.waiting
    bench.tick(20)
    bench.tick(28, 10)
    assert bench.letters() == [letter]
    dead = bench.rows("select count(*) from hl.gap where not is_dead")
    assert dead == [(0,)], "everything after it was read, re-reads and all"
    assert bench.exchange.requests[-1].series.coin in ("BTC", "ETH")


def test_an_outage_of_everything_buries_nothing_however_long_it_lasts(bench: Bench) -> None:
    for error in (ExchangeUnavailable("down"), BAD, RequestRefused("403")):
        bench.exchange.error = lambda _, error=error: error  # type: ignore[misc]
        bench.tick(8)
        bench.tick(20, 30)
    assert bench.letters(only_open=False) == []
    bench.exchange.error = lambda _: None
    bench.tick(8, 5)
    assert bench.rows("select count(*) from hl.fetch_failure") == [(0,)]
    assert bench.rows("select count(*) from hl.gap") == [(0,)]


def test_a_refused_form_dies_at_the_third_refusal(bench: Bench) -> None:
    bench.exchange.error = on_eth(RequestRefused("422"))
    bench.tick(2)
    assert bench.letters() == []
    bench.tick(2)  # the second refusal may come before the tick's first answer, and so not count
    (letter,) = bench.letters()
    assert (letter.kind, letter.attempts) == (FailureKind.REFUSED, 3)


def test_a_window_without_an_answer_dies_after_twenty_failures_and_six_hours(bench: Bench) -> None:
    bench.exchange.error = on_eth(ExchangeUnavailable("500"))
    bench.tick(24, 15)
    assert bench.letters() == []
    bench.tick(2, 15)
    assert [letter.kind for letter in bench.letters()] == [FailureKind.UNREACHABLE]


def test_a_failure_now_and_then_is_never_added_up(bench: Bench) -> None:
    for _ in range(12):
        bench.exchange.error = on_eth(BAD)
        bench.tick(2)
        bench.exchange.error = lambda _: None
        bench.tick(2)
    assert bench.letters(only_open=False) == []
    assert bench.rows("select count(*) from hl.fetch_failure") == [(0,)]


def died(bench: Bench) -> DeadLetter:
    bench.exchange.error = on_slot(NOON)
    bench.tick(15)
    (letter,) = bench.letters()
    return letter


def test_a_retry_that_succeeds_heals_the_letter_and_resolves_its_alert(bench: Bench) -> None:
    number = died(bench).number
    bench.exchange.error = lambda _: None
    bench.tick(10)
    assert [letter.number for letter in bench.letters()] == [number], "nobody asked for it"
    assert bench.retry() == 1
    assert bench.letters()[0].outcome is Outcome.RETRIED
    bench.fill()
    (healed,) = bench.letters(only_open=False)
    assert (healed.outcome, healed.resolved_ms) == (Outcome.HEALED, bench.clock.now_ms())
    assert bench.alerts() == []
    assert bench.rows("select count(*) from hl.gap") == [(0,)]


def test_a_retry_that_fails_is_one_request_and_the_letter_says_what_came_of_it(bench: Bench) -> None:
    letter = died(bench)
    bench.exchange.error = on_slot(NOON, ExchangeUnavailable("502"))
    bench.clock.advance(MINUTE)
    bench.fill()
    bench.retry()
    before = len(bench.asked("ETH"))
    bench.fill()
    assert [request.start_ms for request in bench.asked("ETH")[before:]] == [NOON]
    (again,) = bench.letters()
    assert (again.outcome, again.error) == (Outcome.OPEN, "502")
    assert (again.attempts, again.slots) == (letter.attempts + 1, letter.slots)
    assert bench.alerts()[0].times_seen == 2
    bench.tick(14, 5)
    assert [request for request in bench.asked("ETH")[before + 1 :] if request.start_ms <= NOON < request.end_ms] == []


def test_letters_retried_and_drained_go_in_the_gap_lane_and_leave_the_rest_alone(bench: Bench) -> None:
    died(bench)
    bench.exchange.error = lambda _: None
    bench.clock.advance(MINUTE)
    before = len(bench.exchange.requests)
    report = retry_and_drain(bench.exchange, bench.database, bench.clock, FillPolicy(), kind=FailureKind.BAD_ANSWER)
    assert (len(report.letters), report.count(Outcome.HEALED)) == (1, 1)
    assert [request.series.coin for request in bench.exchange.requests[before:]] == ["ETH"]
    assert bench.rows("select lane from hl.fetch order by fetch_id desc limit 1") == [("gap",)]
    none = retry_and_drain(bench.exchange, bench.database, bench.clock, FillPolicy())
    assert (none.letters, none.fill.planned) == ([], 0)


def test_another_read_of_the_slots_resolves_the_letter_as_well(bench: Bench) -> None:
    died(bench)
    bench.exchange.error = lambda _: None
    bench.fill(window=Span(NOON - HOUR, NOON + HOUR))
    assert [letter.outcome for letter in bench.letters(only_open=False)] == [Outcome.HEALED]


def test_it_is_asked_for_once_more_an_hour_before_it_is_forgotten_and_then_lost(bench: Bench) -> None:
    letter = died(bench)
    forgotten_at = NOON + WINDOW_SLOTS * MINUTE
    bench.clock.set(forgotten_at - 2 * HOUR)
    bench.fill()
    before = len(bench.asked("ETH"))
    bench.tick(29, 4)
    tries = [request for request in bench.asked("ETH")[before:] if request.start_ms <= NOON]
    assert len(tries) == 1
    bench.clock.set(forgotten_at + HOUR)
    bench.fill()
    (lost,) = bench.letters(only_open=False)
    assert (lost.outcome, lost.lost, lost.waiting.spans) == (Outcome.LOST, letter.slots, ())
    assert "archive" in lost.next_step
    assert bench.alerts() == []


def test_what_the_last_try_brings_back_is_not_lost(bench: Bench) -> None:
    died(bench)
    bench.exchange.error = lambda _: None
    bench.clock.set(NOON + (WINDOW_SLOTS - 59) * MINUTE)
    bench.fill()
    assert [letter.outcome for letter in bench.letters(only_open=False)] == [Outcome.HEALED]


def test_a_letter_of_which_a_part_was_lost_says_so(bench: Bench) -> None:
    letter = died(bench)
    bench.clock.set(NOON + (WINDOW_SLOTS + 3) * MINUTE)
    bench.fill()
    bench.exchange.error = lambda _: None
    bench.retry()
    bench.fill()
    (found,) = bench.letters(only_open=False)
    assert found.outcome is Outcome.PARTLY_LOST
    assert 0 < found.count(found.lost) < found.count(letter.slots)


def test_a_row_that_is_refused_for_two_hours_is_a_letter_and_hinders_no_other(bench: Bench) -> None:
    bench.exchange.spoilt = frozenset({NOON})
    bench.tick(23, 5)
    assert bench.letters() == []
    bench.tick(8, 5)
    (letter,) = bench.letters()
    assert {letter.kind for letter in bench.letters()} == {FailureKind.REJECTED}
    assert letter.count(letter.waiting) == 1
    before = len(bench.asked(letter.key.coin))
    bench.tick(12, 5)
    assert len(bench.asked(letter.key.coin)) - before == 12, "one request a tick, as for any series"
    assert bench.rows("select count(*) from hl.gap where not is_dead") == [(0,)]
    bench.exchange.spoilt = frozenset()
    bench.exchange.hidden = set()
    bench.retry()
    bench.fill()
    assert {letter.outcome for letter in bench.letters(only_open=False)} == {Outcome.HEALED}


def test_rows_refused_everywhere_bury_nothing(bench: Bench) -> None:
    bench.exchange.spoilt_coins = ("BTC", "ETH")
    bench.exchange.spoilt = frozenset(range(NOON - HOUR, NOON + 20 * HOUR, MINUTE))
    bench.tick(30, 5)
    assert bench.letters() == []
