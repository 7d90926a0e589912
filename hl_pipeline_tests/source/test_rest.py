from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
from typing import Any

import pytest

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.budget import CLAIM_REPEAT_SECONDS
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import (
    BadAnswer,
    BudgetExhausted,
    DatabaseUnavailable,
    ExchangeUnavailable,
    InvalidSetting,
    PipelineError,
    RateLimited,
    RequestRefused,
)
from hl_pipeline.model.interval import Interval
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline_tests.source.scripted import BudgetBook, FakeTime, ScriptedServer, Step, answer, cut, drip, silence

MINUTE = 60_000
START = 1_785_000_000_000 // MINUTE * MINUTE
LIMITED = "429 Too Many Requests"
CANARY = "canary-4711"


def request(slots: int = 120, coin: str = "BTC") -> CandleRequest:
    return CandleRequest(SeriesKey(coin, Interval.M1), START, START + slots * MINUTE)


def rows(count: int) -> bytes:
    return json.dumps(
        [
            {"t": at, "T": at + MINUTE - 1, "s": "BTC", "i": "1m", "v": "1.0", "n": 1} | dict.fromkeys("ohlc", "10.0")
            for at in range(START, START + count * MINUTE, MINUTE)
        ]
    ).encode()


class Bench:
    """A client on a scripted server, with its book of weights and its own time."""

    def __init__(self, server: ScriptedServer, budget: BudgetBook | None = None, **changes: Any) -> None:
        self.server = server
        self.book = budget or BudgetBook()
        self.time = FakeTime()
        self.client = HyperliquidRest(
            server.url,
            budget=self.book,
            **{"sleep": self.time.sleep, "monotonic": self.time.monotonic, "deadline_s": 20.0, **changes},
        )

    def __enter__(self) -> Bench:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.__exit__()


def bench(*script: Step, budget: BudgetBook | None = None, **changes: Any) -> Bench:
    return Bench(ScriptedServer(*script), budget, **changes)


def impatient(*script: Step, **changes: Any) -> Bench:
    """One attempt, by the real clock, within 0.3 s."""
    real = {"sleep": threading.Event().wait, "patience": Patience(attempts=1), "deadline_s": 0.3}
    server = ScriptedServer(*script)
    made = Bench(server, None)
    made.client.close()
    made.client = HyperliquidRest(server.url, budget=made.book, **{**real, **changes})
    return made


def test_candles_are_asked_half_open_and_settled_by_the_rows_that_came() -> None:
    with bench(answer(rows(61))) as b:
        got = b.client.candles(request(120), lane="gap")
    assert b.server.requests == [
        {
            "type": "candleSnapshot",
            "req": {"coin": "BTC", "interval": "1m", "startTime": START, "endTime": START + 120 * MINUTE - 1},
        }
    ]
    assert len(got.candles) == 61
    assert b.book.reserved == [(22, "gap")]
    assert b.book.settled == [22]
    assert (got.receipt.weight, got.receipt.http_status, len(got.receipt.sha256)) == (22, 200, 32)
    assert got.receipt.endpoint == f"{b.server.url}/info"


def test_no_request_reserves_more_than_the_exchange_can_return() -> None:
    with bench(answer(b"[]")) as b:
        b.client.candles(request(50_000))
    assert b.book.reserved == [(104, "live")]
    assert b.book.settled == [20]


@pytest.mark.parametrize(
    "span", [(START, START), (START, START - MINUTE), (-MINUTE, START), (START + 1, START + MINUTE)]
)
def test_a_span_that_is_empty_negative_or_off_the_grid_is_never_sent(span: tuple[int, int]) -> None:
    with bench(answer()) as b, pytest.raises(ValueError, match="on the grid"):
        b.client.candles(CandleRequest(SeriesKey("BTC", Interval.M1), *span))
    assert b.server.requests == []
    assert b.book.reserved == []


def test_connections_are_kept() -> None:
    with bench(answer()) as b:
        for _ in range(5):
            b.client.candles(request())
    assert b.server.connections == 1


def test_a_connection_the_exchange_closed_meanwhile_is_replaced() -> None:
    with bench(cut(answer()), answer()) as b:
        b.client.candles(request())
        b.client.candles(request())
    assert b.server.connections == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answer(b"null", LIMITED), RateLimited),
        (answer(b"<html>", "502 Bad Gateway"), ExchangeUnavailable),
        (answer(b"", "503 Service Unavailable"), ExchangeUnavailable),
        (answer(b"<html><h1>ok</h1></html>"), BadAnswer),
        (answer(b"null"), BadAnswer),
        (answer(b"{}"), BadAnswer),
        (answer(rows(3)[:-9]), BadAnswer),
        (cut(answer(rows(3), length=100_000)), ExchangeUnavailable),
        (cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,"), ExchangeUnavailable),
        (cut(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + rows(3)[:-9]), BadAnswer),
        (cut(b""), ExchangeUnavailable),
        (cut(b"SSH-2.0-OpenSSH\r\n"), ExchangeUnavailable),
    ],
)
def test_what_time_may_heal_is_tried_again_and_then_told(fault: Step, error: type[Exception]) -> None:
    with bench(fault, answer(rows(2))) as healed:
        assert len(healed.client.candles(request()).candles) == 2
    assert (healed.client.stats.requests, healed.client.stats.retries) == (2, 1)
    with bench(fault) as broken, pytest.raises(error):
        broken.client.candles(request())
    assert len(broken.server.requests) == broken.client.stats.requests == broken.client.stats.errors == 4
    assert len(broken.book.reserved) == len(broken.book.settled) == 4
    assert len(broken.time.slept) == 3


def test_each_attempt_pays_for_itself_and_the_receipt_tells_all() -> None:
    with bench(answer(b"null", LIMITED), cut(answer(rows(9), length=9999)), answer(rows(2))) as b:
        got = b.client.candles(request(120))
    assert b.book.reserved == [(22, "live")] * 3
    assert b.book.settled == [20, 22, 21]
    assert got.receipt.weight == b.client.stats.weight == 63
    assert b.client.stats.status_429 == 1
    assert (got.receipt.retries, got.receipt.refused) == (2, 1)


@pytest.mark.parametrize(
    ("header", "slept"), [("Retry-After: 7", 7.0), ("Retry-After: 86400", 60.0), ("Retry-After: 0", 0.0)]
)
def test_retry_after_is_honoured_and_clamped(header: str, slept: float) -> None:
    with bench(answer(b"null", LIMITED, (header,)), answer()) as b:
        b.client.candles(request())
    assert sum(b.time.slept) == slept


@pytest.mark.parametrize("header", ["Retry-After: soon", "Retry-After: -1", "Retry-After:"])
def test_a_retry_after_nobody_understands_is_replaced_by_our_own_pause(header: str) -> None:
    with bench(answer(b"null", LIMITED, (header,)), answer()) as b:
        b.client.candles(request())
    assert 2.5 <= sum(b.time.slept) <= 5.0


def test_patience_bounds_all_the_waiting_of_a_call() -> None:
    patience = Patience(attempts=100, total_s=100.0)
    with bench(answer(b"null", LIMITED, ("Retry-After: 40",)), patience=patience) as b, pytest.raises(RateLimited):
        b.client.candles(request())
    assert b.time.slept == [40.0, 40.0]


def test_after_a_429_the_other_threads_keep_quiet_too() -> None:
    with bench(answer(b"null", LIMITED, ("Retry-After: 30",)), answer(), patience=Patience(attempts=1)) as b:
        with pytest.raises(RateLimited):
            b.client.candles(request())
        b.client.candles(request())
    assert b.time.slept == [30.0]


def test_a_quiet_longer_than_patience_sends_nothing() -> None:
    patience = Patience(attempts=1, total_s=10.0)
    with bench(answer(b"null", LIMITED, ("Retry-After: 30",)), patience=patience) as b:
        for _ in range(2):
            with pytest.raises(RateLimited):
                b.client.candles(request())
    assert (len(b.server.requests), len(b.book.reserved)) == (1, 1)


def test_a_refused_form_is_not_tried_again() -> None:
    text = b"Failed to deserialize the JSON body into the target type"
    with (
        bench(answer(text, "422 Unprocessable Entity")) as b,
        pytest.raises(RequestRefused, match="Failed to deserialize"),
    ):
        b.client.candles(request())
    assert len(b.server.requests) == 1
    assert b.book.settled == [20]


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "405 Method Not Allowed"])
def test_other_refusals_are_not_tried_again(status: str) -> None:
    with bench(answer(b"no", status)) as b, pytest.raises(RequestRefused, match=status[:3]):
        b.client.candles(request())
    assert len(b.server.requests) == 1


def test_a_500_on_candles_is_tried_once_more_and_names_both_causes() -> None:
    both = "overloaded or it does not know the coin"
    with bench(answer(b"null", "500 Internal Server Error")) as b, pytest.raises(ExchangeUnavailable, match=both):
        b.client.candles(request(coin="PEPE"))
    assert len(b.server.requests) == 2


def test_a_500_elsewhere_is_plain_overload() -> None:
    with (
        bench(answer(b"null", "500 Internal Server Error")) as b,
        pytest.raises(ExchangeUnavailable, match="asking again"),
    ):
        b.client.exchange_time_ms()
    assert len(b.server.requests) == 4


def test_a_redirect_is_not_followed() -> None:
    with bench(answer()) as elsewhere:
        moved = answer(b"", "307 Temporary Redirect", (f"Location: {elsewhere.server.url}/info",))
        with bench(moved) as b, pytest.raises(RequestRefused, match="redirects are not followed"):
            b.client.candles(request())
    assert elsewhere.server.requests == []


def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with bench(answer(rows(1))) as b:
        assert len(b.client.candles(request()).candles) == 1


def test_a_dead_endpoint_is_unavailable_and_costs_the_base_only() -> None:
    with bench(answer()) as closed:
        url = closed.server.url
    book, time = BudgetBook(), FakeTime()
    with (
        HyperliquidRest(url, budget=book, sleep=time.sleep, monotonic=time.monotonic) as client,
        pytest.raises(ExchangeUnavailable, match="cannot be reached"),
    ):
        client.candles(request())
    assert book.settled == [20, 20, 20, 20]


@pytest.mark.parametrize(
    "act",
    [
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n["),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        drip(b"", b"H"),
        silence,
    ],
)
def test_the_deadline_ends_a_drip_in_body_or_headers_and_silence(act: Step) -> None:
    with impatient(act) as b, pytest.raises(ExchangeUnavailable):
        b.client.candles(request())
    assert b.book.settled == [22]


def test_a_gzip_answer_is_unpacked() -> None:
    with bench(answer(gzip.compress(rows(5)), headers=("Content-Encoding: gzip",))) as b:
        assert len(b.client.candles(request()).candles) == 5
    assert "accept-encoding: gzip" in b.server.heads[0].lower()


def test_a_gzip_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(bytes(200_000_000), 6)
    with bench(
        answer(bomb, headers=("Content-Encoding: gzip",)), max_body_bytes=1_000_000, patience=Patience(attempts=1)
    ) as b:
        tracemalloc.start()
        try:
            with pytest.raises(BadAnswer, match="larger than 1000000 bytes"):
                b.client.candles(request())
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (gzip.compress(rows(500))[:-20], "gzip", ExchangeUnavailable),
        (b"not gzip at all", "gzip", BadAnswer),
        (rows(5), "br", BadAnswer),
        (bytes(2_000_000), "identity", BadAnswer),
    ],
)
def test_bodies_that_cannot_be_unpacked_or_held_are_told_apart(
    body: bytes, encoding: str, error: type[Exception]
) -> None:
    script = answer(body, headers=(f"Content-Encoding: {encoding}",))
    with bench(script, max_body_bytes=1_000_000, patience=Patience(attempts=1)) as b, pytest.raises(error):
        b.client.candles(request())


@pytest.mark.parametrize("headers", [("Content-Encoding: br",), ("Content-Encoding: gzip",)])
def test_a_status_counts_even_where_its_body_cannot_be_read(headers: tuple[str, ...]) -> None:
    with bench(answer(b"null", LIMITED, headers)) as b, pytest.raises(RateLimited, match="unreadable"):
        b.client.candles(request())
    with bench(cut(answer(b"nu", LIMITED, length=9))) as b, pytest.raises(RateLimited, match="unreadable"):
        b.client.candles(request())


@pytest.mark.parametrize(
    "status", [LIMITED, "500 Internal Server Error", "422 Unprocessable Entity", "307 Moved", "299 Odd"]
)
def test_no_error_repeats_a_header(status: str) -> None:
    headers = (f"Set-Cookie: {CANARY}", f"Retry-After: {CANARY}")
    with bench(answer(b"", status, headers)) as b, pytest.raises(PipelineError, match=status[:3]) as refusal:
        b.client.candles(request())
    assert CANARY not in str(refusal.value)


def test_an_empty_budget_is_waited_for() -> None:
    soon, later = BudgetExhausted("full", retry_after=0.5), BudgetExhausted("full", retry_after=12.5)
    with bench(answer(), budget=BudgetBook(later, soon)) as b:
        b.client.candles(request())
    assert b.time.slept == [CLAIM_REPEAT_SECONDS, 0.5]
    assert (b.client.stats.refusals, b.client.stats.requests, b.client.stats.errors) == (2, 1, 0)


def test_an_empty_budget_outlasts_patience_and_nothing_is_sent() -> None:
    refusals = [BudgetExhausted("full", retry_after=50.0)] * 40
    patience = Patience(total_s=60.0)
    with bench(answer(), budget=BudgetBook(*refusals), patience=patience) as b, pytest.raises(BudgetExhausted):
        b.client.candles(request())
    assert b.server.requests == []
    assert sum(b.time.slept) == 60.0


def test_without_a_budget_nothing_is_sent() -> None:
    with bench(answer(), budget=BudgetBook(DatabaseUnavailable("down"))) as b, pytest.raises(DatabaseUnavailable):
        b.client.candles(request())
    assert b.server.requests == []


def test_an_answer_that_cannot_be_settled_is_still_an_answer() -> None:
    with bench(answer(rows(2)), budget=BudgetBook(settle_fault=DatabaseUnavailable("down"))) as b:
        assert len(b.client.candles(request()).candles) == 2
    assert b.client.stats.unsettled == 1


def test_one_client_serves_many_threads() -> None:
    with bench(answer(rows(2))) as b:
        threads = [threading.Thread(target=lambda: [b.client.candles(request()) for _ in range(5)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (b.client.stats.requests, b.client.stats.weight, b.client.stats.errors) == (30, 30 * 21, 0)
    assert b.server.connections <= 6


def test_markets_of_every_dex_and_spot_come_in_one_answer() -> None:
    def universe(name: str) -> bytes:
        quote = {"markPx": "1.0", "dayNtlVlm": "0.0"}
        return json.dumps([{"universe": [{"name": name, "szDecimals": 1, "maxLeverage": 3}]}, [quote]]).encode()

    pair = {"universe": [{"name": "@1", "tokens": [1, 0]}], "tokens": [{"index": 1, "szDecimals": 2}]}
    quotes = [{"coin": "@1", "markPx": "2.0", "dayNtlVlm": "0.0"}]
    with bench(answer(universe("BTC")), answer(universe("xyz:TSLA")), answer(json.dumps([pair, quotes]).encode())) as b:
        got = b.client.markets(("", "xyz"), spot=True)
    assert [market.coin for market in got.markets] == ["BTC", "xyz:TSLA", "@1"]
    assert [quote.coin for quote in got.contexts] == ["BTC", "xyz:TSLA", "@1"]
    assert [receipt.weight for receipt in got.receipts] == [20, 20, 20]
    assert b.server.requests == [
        {"type": "metaAndAssetCtxs"},
        {"type": "metaAndAssetCtxs", "dex": "xyz"},
        {"type": "spotMetaAndAssetCtxs"},
    ]


def test_the_small_questions_are_asked_as_documented() -> None:
    funding = b'[{"coin":"BTC","fundingRate":"0.1","premium":"0.2","time":5}]'
    script = [b'{"time":1785000000000}', b'{"@1":"1.5"}', b'{"xyz:TSLA":"1.5"}', b'[null,{"name":"xyz"}]', funding]
    with bench(*map(answer, script)) as b:
        assert b.client.exchange_time_ms() == 1_785_000_000_000
        assert b.client.all_mids() == {"@1": "1.5"}
        assert b.client.all_mids("xyz") == {"xyz:TSLA": "1.5"}
        assert b.client.perp_dexs() == ("", "xyz")
        rates, rejected, receipt = b.client.funding_history("BTC", 0, 10)
    assert ([rate.time_ms for rate in rates], rejected, receipt.weight) == ([5], [], 21)
    assert b.server.requests == [
        {"type": "exchangeStatus"},
        {"type": "allMids"},
        {"type": "allMids", "dex": "xyz"},
        {"type": "perpDexs"},
        {"type": "fundingHistory", "coin": "BTC", "startTime": 0, "endTime": 9},
    ]
    assert b.book.settled == [2, 2, 2, 20, 21]
    assert b.book.reserved[-1] == (45, "live")


def test_funding_of_no_time_is_never_sent() -> None:
    with bench(answer()) as b, pytest.raises(ValueError, match="positive"):
        b.client.funding_history("BTC", 5, 5)
    assert b.server.requests == []


def test_mids_that_cannot_be_read_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with bench(answer(b'{"BTC":"1.5","ETH":"NaN"}')) as b:
        assert b.client.all_mids() == {"BTC": "1.5"}
    assert "NaN" in caplog.text


def test_an_endpoint_that_is_no_exchange_is_refused_at_once() -> None:
    with pytest.raises(InvalidSetting):
        HyperliquidRest("http://169.254.169.254", budget=BudgetBook())
