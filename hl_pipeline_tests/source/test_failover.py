"""One retry layer over several endpoints: real connections, a registry that is a list."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.endpoint import Breaker, EndpointState, EndpointView, FailureOf
from hl_pipeline.model.failure import (
    BadAnswer,
    BudgetExhausted,
    DatabaseUnavailable,
    ExchangeUnavailable,
    InvalidSetting,
    RateLimited,
    RequestRefused,
)
from hl_pipeline.model.interval import Interval
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline_tests.source.scripted import BudgetBook, FakeTime, ScriptedServer, Step, answer, cut

START = 1_785_000_000_000 // 60_000 * 60_000
REQUEST = CandleRequest(SeriesKey("BTC", Interval.M1), START, START + 60 * 60_000)
NOW = 1_000_000
BAD_GATEWAY = answer(b"<html>", "502 Bad Gateway")
NULL_500 = answer(b"null", "500 Internal Server Error")
LIMITED = answer(b"null", "429 Too Many Requests", ("Retry-After: 3",))
REST = {"breaker": Breaker.OPEN, "errors": 5, "opened_ms": NOW - 1000, "last_resort_ms": NOW + 29_000}


class Board:
    """A registry in a list; grants each probe once until it is reported on."""

    def __init__(self) -> None:
        self.states: list[EndpointState] = []
        self.told: list[tuple[str, str]] = []
        self.taken: set[str] = set()
        self.admits = True
        self.fault: Exception | None = None
        self.guard = threading.Lock()

    def view(self) -> EndpointView:
        return EndpointView(NOW, tuple(self.states))

    def admit(self, url: str, *, last_resort: bool = False) -> bool:
        with self.guard:
            if not self.admits or url in self.taken:
                return False
            self.taken.add(url)
            return True

    def answered(self, url: str) -> None:
        self._tell(url, "answered")

    def failed(self, url: str, failure: FailureOf, error: str) -> None:
        self._tell(url, str(failure))

    def release(self, url: str) -> None:
        self._tell(url, "released")

    def set(self, number: int, **changes: Any) -> None:
        self.states[number] = replace(self.states[number], **changes)

    def _tell(self, url: str, what: str) -> None:
        if self.fault:
            raise self.fault
        number = next(number for number, state in enumerate(self.states) if state.url == url)
        self.told.append(("abc"[number], what))
        self.taken.discard(url)


class Bench:
    """A client over as many scripted servers as there are scripts."""

    def __init__(self, servers: list[ScriptedServer], **changes: Any) -> None:
        self.servers, self.board, self.book, self.time = servers, Board(), BudgetBook(), FakeTime()
        self.client = HyperliquidRest(
            [server.url for server in servers],
            **{
                "budget": self.book,
                "registry": self.board,
                "sleep": self.time.sleep,
                "monotonic": self.time.monotonic,
                "deadline_s": 20.0,
                **changes,
            },
        )
        self.board.states = [EndpointState(url, number) for number, url in enumerate(self.client.endpoints)]

    @property
    def asked(self) -> list[int]:
        return [len(server.requests) for server in self.servers]


@contextmanager
def bench(*scripts: tuple[Step, ...], **changes: Any) -> Iterator[Bench]:
    with ExitStack() as stack:
        made = Bench([stack.enter_context(ScriptedServer(*script)) for script in scripts], **changes)
        with made.client:
            yield made


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (BAD_GATEWAY, "unreachable"),
        (answer(b"", "503 Service Unavailable"), "unreachable"),
        (answer(b"<html>ok</html>"), "bad_answer"),
        (cut(answer(b"[]", length=99_999)), "unreachable"),
        (cut(b""), "unreachable"),
    ],
)
def test_what_is_the_endpoints_fault_goes_to_the_next_one_at_once(fault: Step, kind: str) -> None:
    with bench((fault,), (answer(),)) as b:
        got = b.client.candles(REQUEST)
    assert b.asked == [1, 1]
    assert b.time.slept == [], "another may do better: no reason to wait"
    assert b.board.told == [("a", kind)]
    assert got.receipt.endpoint == b.client.endpoints[1], "who served is named"
    assert (got.receipt.retries, got.receipt.weight) == (1, sum(b.book.settled))


def test_several_endpoints_send_no_more_attempts_than_one() -> None:
    with bench((BAD_GATEWAY,), (BAD_GATEWAY,), (BAD_GATEWAY,)) as b, pytest.raises(ExchangeUnavailable):
        b.client.candles(REQUEST)
    assert b.asked == [2, 1, 1]
    assert len(b.book.reserved) == len(b.book.settled) == 4
    assert len(b.time.slept) == 1, "once round, then a pause"


def test_a_request_that_is_refused_is_refused_by_all() -> None:
    with bench((answer(b"no", "422 Unprocessable Entity"),), (answer(),)) as b, pytest.raises(RequestRefused):
        b.client.candles(REQUEST)
    assert b.asked == [1, 0]
    assert b.board.told == [], "it answered, and had no errors to forget"


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "307 Temporary Redirect"])
def test_who_refuses_whatever_is_asked_is_told_of_when_there_is_another(status: str) -> None:
    with bench((answer(b"no", status),), (answer(),)) as b, pytest.raises(RequestRefused):
        b.client.candles(REQUEST)
    assert b.asked == [1, 0], "a person must look; but the next requests go elsewhere once it rests"
    assert b.board.told == [("a", "bad_answer")]
    with bench((answer(b"no", status),)) as alone, pytest.raises(RequestRefused):
        alone.client.candles(REQUEST)
    assert alone.board.told == [], "a lone one that rested would hide why"


def test_a_429_is_waited_out_not_run_away_from() -> None:
    with bench((LIMITED, answer()), (answer(),)) as b:
        b.client.candles(REQUEST)
    assert b.asked == [2, 0]
    assert b.time.slept == [3.0]
    assert b.board.told == [("a", "rate_limited")]


def test_a_500_on_candles_is_the_endpoints_fault_when_another_answers_the_same() -> None:
    with bench((NULL_500,), (answer(),)) as b:
        b.client.candles(REQUEST)
    assert b.asked == [1, 1]
    assert b.board.told == [("a", "unreachable")]


def test_a_500_from_all_may_be_an_unknown_coin_and_blames_nobody() -> None:
    with bench((NULL_500,), (NULL_500,)) as b, pytest.raises(ExchangeUnavailable, match="does not know the coin"):
        b.client.candles(REQUEST)
    assert b.asked == [1, 1], "asked twice, as with one endpoint"
    assert b.board.told == []


def test_a_500_on_the_funding_of_a_coin_does_not_rest_the_only_endpoint() -> None:
    with bench((NULL_500,)) as b:
        for coin in ("BTC", "ETH", "SOL"):
            with pytest.raises(ExchangeUnavailable, match="does not know the coin"):
                b.client.funding_history(coin, START, START + 60_000)
    assert b.board.told == [], "candles are answered meanwhile, and must not wait for a breaker to close"
    with bench((NULL_500,), (answer(b"[]"),)) as b:
        b.client.funding_history("BTC", START, START + 60_000)
    assert b.board.told == [("a", "unreachable")], "another answers the same"


def test_load_goes_to_the_fastest_that_is_well() -> None:
    with bench((answer(),), (answer(),), (answer(),)) as b:
        b.board.states = [replace(state, latency_ms=ms) for state, ms in zip(b.board.states, (90, 10, 40), strict=True)]
        b.client.candles(REQUEST)
        b.board.set(1, disagrees_since_ms=5)
        b.time.now += 1.0
        b.client.candles(REQUEST)
        b.board.set(2, lag_ms=60_000)
        b.board.set(0, lag_ms=0)
        b.time.now += 1.0
        b.client.candles(REQUEST)
    assert b.asked == [1, 1, 1]


def test_an_answer_after_errors_is_told_and_otherwise_not() -> None:
    with bench((answer(),)) as b:
        b.client.candles(REQUEST)
        assert b.board.told == [], "no word for every request"
        b.board.set(0, errors=3)
        b.time.now += 1.0
        b.client.candles(REQUEST)
    assert b.board.told == [("a", "answered")]


def test_when_all_rest_a_request_fails_at_once_and_spends_nothing() -> None:
    with bench((answer(),), (answer(),)) as b:
        b.board.admits = False
        b.board.set(0, next_probe_ms=NOW + 90_000, last_error="connection refused", **REST)
        b.board.set(1, next_probe_ms=NOW + 12_000, **{**REST, "last_resort_ms": NOW + 12_000})
        with pytest.raises(ExchangeUnavailable, match=r"rests after 5 errors \(connection refused\)") as refusal:
            b.client.candles(REQUEST)
    assert refusal.value.retry_after == 12.0
    assert b.asked == [0, 0]
    assert b.book.reserved == []
    assert b.time.slept == []


def test_a_rest_after_429s_is_called_what_it_is() -> None:
    with bench((answer(),)) as b:
        b.board.admits = False
        b.board.set(0, next_probe_ms=NOW + 30_000, failure=FailureOf.RATE_LIMITED, **REST)
        with pytest.raises(RateLimited, match="nothing was sent"):
            b.client.candles(REQUEST)


def test_a_lagging_endpoint_is_not_asked_even_when_the_other_rests() -> None:
    with bench((answer(),), (answer(),)) as b:
        b.board.admits = False
        b.board.set(0, next_probe_ms=NOW + 30_000, lag_ms=10, **REST)
        b.board.set(1, lag_ms=60_000)
        with pytest.raises(ExchangeUnavailable, match="its head is 60 s behind"):
            b.client.candles(REQUEST)
    assert b.asked == [0, 0]


def test_the_probe_of_the_last_endpoint_is_the_request_itself() -> None:
    with bench((answer(),)) as b:
        b.board.set(0, next_probe_ms=NOW, **{**REST, "last_resort_ms": NOW})
        b.client.candles(REQUEST)
    assert b.board.told == [("a", "answered")]


def test_a_probe_that_fails_ends_the_call() -> None:
    with bench((BAD_GATEWAY,)) as b:
        b.board.set(0, next_probe_ms=NOW, **{**REST, "last_resort_ms": NOW})
        with pytest.raises(ExchangeUnavailable, match="502"):
            b.client.candles(REQUEST)
    assert b.asked == [1], "the endpoint rests: nobody else is asked"
    assert b.board.told == [("a", "unreachable")]


def test_while_somebody_probes_the_last_endpoint_others_wait_for_the_verdict() -> None:
    with bench((answer(),)) as b:
        b.board.admits = False
        b.board.set(0, **{**REST, "breaker": Breaker.HALF_OPEN, "next_probe_ms": NOW})
        wait = b.time.sleep

        def verdict(seconds: float) -> None:
            wait(seconds)
            if len(b.time.slept) == 3:
                b.board.set(0, breaker=Breaker.CLOSED, errors=0)

        b.client._sleep = verdict
        b.client.candles(REQUEST)
    assert b.time.slept == [0.25, 0.25, 0.25]
    assert b.book.settled == [20]


def test_a_verdict_that_does_not_come_is_not_waited_for_for_ever() -> None:
    with bench((answer(),)) as b:
        b.board.admits = False
        b.board.set(0, **{**REST, "breaker": Breaker.HALF_OPEN, "next_probe_ms": NOW})
        with pytest.raises(ExchangeUnavailable, match="is being probed"):
            b.client.candles(REQUEST)
    assert sum(b.time.slept) == 5.0
    assert b.book.settled == [0], "nothing was sent, and the weight is given back"


def test_a_resting_primary_that_nobody_probes_is_probed_by_a_request_after_a_while() -> None:
    with bench((answer(),), (answer(),)) as b:
        b.board.set(0, next_probe_ms=NOW - 119_999, **REST)
        b.client.candles(REQUEST)
        b.board.set(0, next_probe_ms=NOW - 120_000)
        b.time.now += 1.0
        b.client.candles(REQUEST)
    assert b.asked == [1, 1]


@pytest.mark.parametrize("number", [0, 1])
def test_an_endpoint_can_be_asked_alone_once_and_without_a_word_to_others(number: int) -> None:
    status = answer(b'{"time":1785000000000}')
    with bench((status, BAD_GATEWAY), (status, BAD_GATEWAY)) as b:
        url = b.client.endpoints[number]
        assert b.client.sight(url).time_ms == 1_785_000_000_000
        with pytest.raises(ExchangeUnavailable):
            b.client.candles_of(url, REQUEST)
    assert b.asked == [2 * (number == 0), 2 * (number == 1)]
    assert b.board.told == []
    assert b.book.settled == [2, 20]


def test_an_endpoint_of_nobodys_list_is_not_asked() -> None:
    with bench((answer(),)) as b, pytest.raises(InvalidSetting, match="not among the endpoints"):
        b.client.sight("https://evil.example/info")


def test_alone_nothing_is_waited_for() -> None:
    with bench((LIMITED,)) as b:
        with pytest.raises(RateLimited):
            b.client.candles_of(b.client.endpoint, REQUEST)
        quiet = HyperliquidRest(b.servers[0].url, budget=BudgetBook(BudgetExhausted("full", retry_after=9.0)))
        with quiet, pytest.raises(BudgetExhausted):
            quiet.sight(quiet.endpoint)
    assert b.time.slept == []


def test_after_a_429_no_endpoint_is_probed_for_a_while() -> None:
    with bench((LIMITED,), patience=Patience(attempts=1)) as b:
        with pytest.raises(RateLimited):
            b.client.candles(REQUEST)
        with pytest.raises(BudgetExhausted, match="a moment ago"):
            b.client.sight(b.client.endpoint)
    assert b.asked == [1]


def test_a_registry_that_cannot_be_told_does_not_lose_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    with bench((BAD_GATEWAY,), (answer(),)) as b:
        b.board.fault = DatabaseUnavailable("down")
        assert b.client.candles(REQUEST).candles == []
    assert "could not be kept" in caplog.text


def test_a_registry_that_cannot_be_read_stops_everything() -> None:
    with bench((answer(),)) as b:

        def down() -> EndpointView:
            raise DatabaseUnavailable("down")

        b.board.view = down  # type: ignore[method-assign]
        with pytest.raises(DatabaseUnavailable):
            b.client.candles(REQUEST)
    assert b.asked == [0]


def test_an_interrupt_gives_the_probe_back() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with bench((answer(),)) as b:
        b.board.set(0, next_probe_ms=NOW, **{**REST, "last_resort_ms": NOW})
        b.client._once = interrupt  # type: ignore[method-assign,assignment]
        with pytest.raises(KeyboardInterrupt):
            b.client.candles(REQUEST)
    assert b.board.told == [("a", "released")]


def test_without_a_registry_several_endpoints_still_stand_in_for_each_other() -> None:
    with bench((BAD_GATEWAY,), (answer(json.dumps([]).encode()),), registry=None) as b:
        assert b.client.candles(REQUEST).receipt.endpoint == b.client.endpoints[1]


def test_threads_fail_over_together() -> None:
    with bench((BAD_GATEWAY,), (answer(),)) as b, ExitStack() as stack:
        threads = [threading.Thread(target=b.client.candles, args=(REQUEST,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            stack.callback(thread.join)
    assert b.asked == [8, 8]
    assert b.client.stats.requests == 16


def test_a_garbled_answer_of_all_is_still_a_garbled_answer() -> None:
    with bench((answer(b"null"),), (answer(b"{}"),)) as b, pytest.raises(BadAnswer):
        b.client.candles(REQUEST)
    assert b.asked == [2, 2]
