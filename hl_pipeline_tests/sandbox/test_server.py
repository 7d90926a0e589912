from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock, SystemClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.process import SandboxProcess
from hl_pipeline.sandbox.server import RunningSandbox, listen
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW, candle_body, post, world

MINUTE = 60_000
FULL = candle_body("BTC", "1m", 0, NOW)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(world(), limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE)) as running:
        yield running


def told(sandbox: RunningSandbox, body: object) -> Any:
    status, answer, _ = post(f"{sandbox.url}/info", body)
    assert status == 200
    return json.loads(answer)


def test_info_answers_over_http_as_json(sandbox: RunningSandbox) -> None:
    status, body, content_type = post(f"{sandbox.url}/info", FULL)
    assert (status, content_type) == (200, "application/json")
    assert len(json.loads(body)) == 5000


def test_a_get_is_not_allowed(sandbox: RunningSandbox) -> None:
    assert post(f"{sandbox.url}/info", {}, method="GET")[0] == 405
    assert sandbox.log.entries() == []


def test_refusals_keep_their_body_and_content_type(sandbox: RunningSandbox) -> None:
    assert post(f"{sandbox.url}/info", {"type": "nope"})[::2] == (422, "text/plain; charset=utf-8")
    assert post(f"{sandbox.url}/info", candle_body("NOPE", "1m", 0, None))[:2] == (500, b"null")
    sandbox.faults.fail_next(FaultKind.RATE_LIMITED)
    assert post(f"{sandbox.url}/info", FULL) == (429, b"null", "application/json")


def test_a_refusal_may_carry_any_retry_after(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.RATE_LIMITED, times=1, retry_after="soon"))
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
    for expected in ("soon", None):
        connection.request("POST", "/info", '{"type":"exchangeStatus"}')
        answer = connection.getresponse()
        answer.read()
        assert answer.headers["retry-after"] == expected
    connection.close()


def test_a_cut_body_breaks_off_before_its_promised_length(sandbox: RunningSandbox) -> None:
    sandbox.faults.fail_next(FaultKind.CUT)
    with pytest.raises(http.client.IncompleteRead):
        post(f"{sandbox.url}/info", FULL)
    assert len(told(sandbox, FULL)) == 5000


def test_a_dripping_body_arrives_whole_in_the_end_and_holds_nobody_up(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.DRIP, request="exchangeStatus", amount=1))
    sandbox.faults.add(Fault(FaultKind.DRIP, request="allMids", amount=3_600_000, times=1))
    stuck = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
    stuck.request("POST", "/info", '{"type":"allMids"}')
    response = stuck.getresponse()
    assert response.read(1) == b"{"
    assert told(sandbox, {"type": "exchangeStatus"})["time"] == NOW
    response.close()
    stuck.close()


def test_a_slow_answer_does_not_hold_up_the_others(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.LATENCY, request="meta", amount=3_600_000))
    stuck = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
    stuck.request("POST", "/info", '{"type":"meta"}')
    assert told(sandbox, {"type": "exchangeStatus"})["time"] == NOW
    stuck.close()


def test_clients_may_name_themselves_to_be_counted_apart() -> None:
    with RunningSandbox(world(), limiter=LimiterMode.BUCKET) as sandbox:
        connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
        for name in ("one", "other"):
            connection.request("POST", "/info", '{"type":"exchangeStatus"}', {"x-sandbox-client": name})
            connection.getresponse().read()
        connection.close()
        assert [entry.client for entry in sandbox.log.entries()] == ["one", "other"]


def test_the_switchboard_moves_the_clock_plans_faults_and_shows_the_log(sandbox: RunningSandbox) -> None:
    url = f"{sandbox.url}/sandbox"
    fault = {"kind": "late", "coin": "BTC", "interval": "1m", "opens_ms": [NOW], "until_ms": NOW + MINUTE}
    assert json.loads(post(f"{url}/faults", fault)[1]) == [1]
    assert json.loads(post(f"{url}/faults", [{"kind": "429", "times": 2}, {"kind": "html"}])[1]) == [2, 3]
    assert json.loads(post(f"{url}/clock", {"advance_ms": MINUTE})[1]) == {"now_ms": NOW + MINUTE}
    assert post(f"{sandbox.url}/info", {"type": "meta"})[0] == 429
    assert json.loads(post(f"{url}/manners", {"quiet": "sparse"})[1])["quiet"] == "sparse"
    state = json.loads(post(f"{url}/state", None, method="GET")[1])
    assert (state["now_ms"], state["seed"], state["refusals"]) == (NOW + MINUTE, 7, 1)
    assert state["faults"]["1"]["opens_ms"] == [NOW]
    log = json.loads(post(f"{url}/log?after=0", None, method="GET")[1])
    assert [(entry["request"], entry["status"], entry["fault"]) for entry in log] == [("meta", 429, "429")]
    assert post(f"{url}/faults", None, method="DELETE")[0] == 200
    assert sandbox.faults.in_force() == {}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("faults", {"kind": "no such kind"}, 400),
        ("faults", [1], 400),
        ("clock", {"advance_ms": -1}, 400),
        ("clock", {"set_ms": "soon"}, 400),
        ("manners", {"quiet": "loud"}, 400),
        ("nowhere", {}, 404),
    ],
)
def test_the_switchboard_refuses_what_it_cannot_read(
    sandbox: RunningSandbox, path: str, body: object, status: int
) -> None:
    assert post(f"{sandbox.url}/sandbox/{path}", body)[0] == status


def test_the_limiter_can_be_switched_while_it_runs(sandbox: RunningSandbox) -> None:
    assert post(f"{sandbox.url}/sandbox/limiter", {"mode": "minute"})[0] == 200
    assert sandbox.exchange.limiter.mode is LimiterMode.MINUTE


def test_a_web_page_cannot_reach_the_switchboard(sandbox: RunningSandbox) -> None:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
    connection.request("DELETE", "/sandbox/faults", headers={"origin": "https://example.com"})
    assert connection.getresponse().status == 403
    connection.close()


def test_only_a_manual_clock_can_be_moved() -> None:
    with RunningSandbox(World(7, markets=MARKETS, clock=SystemClock())) as sandbox:
        assert post(f"{sandbox.url}/sandbox/clock", {"advance_ms": 1})[0] == 409


def test_it_listens_on_loopback_only_and_refuses_a_taken_port() -> None:
    with listen() as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(OSError, match="in use"):
            listen(port)


def test_leaving_the_block_stops_the_thread_and_frees_the_port() -> None:
    before = threading.active_count()
    with RunningSandbox(world()) as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        told(sandbox, {"type": "exchangeStatus"})
    assert threading.active_count() == before
    listen(port).close()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_process_of_its_own_answers_and_ends_cleanly_on_a_signal(name: str) -> None:
    arguments = ("--seed", "7", "--limiter", "minute", "--quiet-mode", "dense", "--manual-clock-ms", str(NOW))
    with SandboxProcess(*arguments, "--history-days", "5") as sandbox:
        state = json.loads(post(f"{sandbox.url}/sandbox/state", None, method="GET")[1])
        assert (state["seed"], state["now_ms"], state["limiter"]) == (7, NOW, "minute")
        there = json.loads(post(f"{sandbox.url}/info", candle_body("BTC", "1d", 0, None))[1])
        here = World(7, clock=ManualClock(NOW), history_days=5)
        assert len(there) == 6
        assert there[0]["o"] == here.truth.candles("BTC", Interval.D1, 0, NOW)[0].open
        os.kill(sandbox.pid, getattr(signal, name))
        assert sandbox.wait() == 0


def test_a_process_that_cannot_start_says_so() -> None:
    with listen() as taken, pytest.raises(RuntimeError, match="did not start"):
        SandboxProcess("--port", str(taken.getsockname()[1])).__enter__()
