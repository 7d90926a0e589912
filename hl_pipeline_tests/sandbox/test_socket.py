from __future__ import annotations

import gc
import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from hl_pipeline.model.clock import ScaledClock, SystemClock
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.gate import NO_LIMITS, SocketLimits
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.process import SandboxProcess
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.sockets import PATIENCE, candle, client, closed, pass_time, running
from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW, candle_body, candles, post

MINUTE = 60_000
FLOOR = NOW - NOW % MINUTE


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running() as sandbox:
        yield sandbox


def rest(sandbox: RunningSandbox, coin: str, start_ms: int, end_ms: int) -> list[object]:
    there = Exchange(sandbox.world, manners=sandbox.exchange.manners, limiter=WeightLimiter(LimiterMode.OFF))
    return list(candles(there, coin, "1m", start_ms, end_ms))


def test_a_subscriber_hears_the_candle_grow_and_close_as_rest_tells_it(sandbox: RunningSandbox) -> None:
    sandbox.exchange.manners = Manners(QuietMode.DENSE, missed_tail_ms=0)
    with client(sandbox) as here:
        here.subscribe(candle())
        assert here.until_pong() == []
        frames = []
        for _ in range(95):
            pass_time(sandbox, 1_000)
            frames += [message["data"] for message in here.until_pong()]
    whole = [row for row in frames if row["t"] == FLOOR + MINUTE]
    assert len(whole) >= 2
    assert [row["n"] for row in whole] == sorted({row["n"] for row in whole})
    assert [whole[-1]] == rest(sandbox, "BTC", FLOOR + MINUTE, FLOOR + 2 * MINUTE - 1)


def test_a_last_frame_may_miss_the_tail(sandbox: RunningSandbox) -> None:
    sandbox.exchange.manners = Manners(QuietMode.DENSE, missed_tail_ms=5_000)
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, MINUTE)
        first = here.until_pong()[0]["data"]
    (row,) = rest(sandbox, "BTC", FLOOR, FLOOR + 1)
    assert isinstance(row, dict)
    assert first["n"] < row["n"]
    assert first["t"] == row["t"]


def test_a_silent_minute_has_no_frame(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle("SLOW"), candle("BTC"))
        pass_time(sandbox, 20 * MINUTE)
        told = [message["data"] for message in here.until_pong()]
    rows = rest(sandbox, "SLOW", FLOOR + MINUTE, FLOOR + 20 * MINUTE - 1)
    traded = {row["t"] for row in rows if isinstance(row, dict) and row["n"]}
    assert 0 < len(traded) < 19
    assert {row["t"] for row in told if row["s"] == "SLOW"} & {
        row["t"] for row in rows if isinstance(row, dict)
    } == traded


def test_the_open_candle_is_shown_at_once_only_by_an_exchange_that_does_so(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        assert here.until_pong() == []
        sandbox.exchange.manners = Manners(QuietMode.DENSE, snapshot_on_subscribe=True)
        here.subscribe(candle("BTC", "5m"))
        (shown,) = here.until_pong()
    assert (shown["channel"], shown["data"]["i"]) == ("candle", "5m")
    assert shown["data"]["t"] <= NOW <= shown["data"]["T"]


def test_acknowledgements_and_errors_are_in_the_exchange_s_words(sandbox: RunningSandbox) -> None:
    wish = candle()
    echo = {"type": "candle", "interval": "1m", "coin": "BTC"}
    text = '{"type":"candle","interval":"1m","coin":"BTC"}'
    with client(sandbox) as here:
        yes = {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": echo}}
        assert here.ask({"method": "subscribe", "subscription": wish}) == yes
        again = here.ask({"method": "subscribe", "subscription": wish})
        assert again == {"channel": "error", "data": f"Already subscribed: {text}"}
        yes["data"]["method"] = "unsubscribe"  # type: ignore[index]
        assert here.ask({"method": "unsubscribe", "subscription": wish}) == yes
        again = here.ask({"method": "unsubscribe", "subscription": wish})
        assert again == {"channel": "error", "data": f"Already unsubscribed: {text}"}
        assert here.ask({"method": "ping"}) == {"channel": "pong"}
        garbled = here.ask("hello")
        assert garbled == {"channel": "error", "data": "Error parsing JSON into valid websocket request: hello"}


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (candle("btc"), '{"type":"candle","interval":"1m","coin":"btc"}'),
        (candle("SOON"), '{"type":"candle","interval":"1m","coin":"SOON"}'),
        (candle("BTC", "1w"), '{"type":"candle","interval":"1w","coin":"BTC"}'),
        ({"type": "allMids", "dex": "nope"}, '{"type":"allMids","dex":"nope"}'),
        ({"type": "activeAssetCtx", "coin": "NOPE"}, '{"type":"activeAssetCtx","coin":"NOPE"}'),
        ({"type": "bbo", "coin": "BTC"}, '{"type":"bbo","coin":"BTC"}'),
    ],
)
def test_what_does_not_exist_cannot_be_subscribed_to(
    sandbox: RunningSandbox, wish: dict[str, object], text: str
) -> None:
    with client(sandbox) as here:
        answer = here.ask({"method": "subscribe", "subscription": wish})
    assert answer == {"channel": "error", "data": f"Invalid subscription {text}"}


def test_after_unsubscribing_nothing_more_comes(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle(), candle("@107"))
        here.ask({"method": "unsubscribe", "subscription": candle()})
        pass_time(sandbox, 10 * MINUTE)
        assert {message["data"]["s"] for message in here.until_pong()} == {"@107"}


def test_every_socket_hears_its_own_topics_only(sandbox: RunningSandbox) -> None:
    with client(sandbox) as one, client(sandbox) as two:
        one.subscribe(candle("BTC"), {"type": "trades", "coin": "BTC"})
        two.subscribe(candle("BTC"), {"type": "allMids"}, {"type": "activeAssetCtx", "coin": "@107"})
        pass_time(sandbox, MINUTE)
        first, second = one.until_pong(), two.until_pong()
    assert {message["channel"] for message in first} == {"candle", "trades"}
    assert {message["channel"] for message in second} == {"candle", "allMids", "activeSpotAssetCtx"}
    assert [m for m in first if m["channel"] == "candle"] == [m for m in second if m["channel"] == "candle"]


def test_info_requests_may_be_posted_and_weigh_what_they_weigh() -> None:
    with running(limiter=LimiterMode.SLIDING) as sandbox, client(sandbox) as here:
        body = candle_body("BTC", "1m", FLOOR - 60 * MINUTE, None)
        answer = here.ask({"method": "post", "id": 5, "request": {"type": "info", "payload": body}})
        assert (answer["channel"], answer["data"]["id"]) == ("post", 5)
        payload = answer["data"]["response"]["payload"]
        assert payload["type"] == "candleSnapshot"
        assert payload["data"] == json.loads(post(f"{sandbox.url}/info", body)[1])
        assert sandbox.log.weight() == 2 * 22
        sandbox.faults.fail_next(FaultKind.RATE_LIMITED)
        refused = here.ask({"method": "post", "id": 6, "request": {"type": "info", "payload": body}})
        assert refused["data"] == {"id": 6, "response": {"type": "error", "payload": "429 null"}}


def test_posts_meet_rest_s_faults_late_ones_come_and_cut_ones_do_not(sandbox: RunningSandbox) -> None:
    asked = {"method": "post", "id": 1, "request": {"type": "info", "payload": {"type": "exchangeStatus"}}}
    with client(sandbox) as here:
        sandbox.faults.add(Fault(FaultKind.LATENCY, amount=5, times=1))
        assert here.ask(asked)["data"]["id"] == 1
        sandbox.faults.fail_next(FaultKind.CUT)
        here.say(asked)
        assert here.until_pong() == []


def test_a_slow_post_holds_nothing_up_and_too_many_are_refused() -> None:
    with running(limits=SocketLimits(posts_in_flight=1)) as sandbox, client(sandbox) as here:
        sandbox.faults.add(Fault(FaultKind.LATENCY, request="meta", amount=3_600_000))
        asked = {"method": "post", "id": 1, "request": {"type": "info", "payload": {"type": "meta"}}}
        here.say(asked)
        assert here.ask({"method": "ping"}) == {"channel": "pong"}
        assert here.ask({**asked, "id": 2}) == {"channel": "error", "data": "too many pending post requests id=2"}


def test_some_builds_greet_in_plain_text() -> None:
    with running(manners=Manners(greeting=True)) as sandbox, client(sandbox) as here:
        assert here.hear() == "Websocket connection established."


def test_an_eleventh_socket_is_refused_until_another_is_closed(sandbox: RunningSandbox) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(client(sandbox)) for _ in range(10)]
        with pytest.raises(InvalidStatus) as refused, client(sandbox):
            pass
        assert refused.value.response.status_code == 429
        stack.enter_context(client(sandbox, "another address"))
        sockets[0].socket.close()
        closed(sandbox)
        stack.enter_context(client(sandbox))
    assert sandbox.sockets.state()["refusals"] == 1


def test_a_thirty_first_handshake_within_a_minute_is_refused(sandbox: RunningSandbox) -> None:
    for _ in range(30):
        with client(sandbox):
            pass
    closed(sandbox, 30)
    with pytest.raises(InvalidStatus), client(sandbox):
        pass
    sandbox.clock.advance(MINUTE - 1)  # type: ignore[attr-defined]
    with pytest.raises(InvalidStatus), client(sandbox):
        pass
    sandbox.clock.advance(1)  # type: ignore[attr-defined]
    with client(sandbox):
        pass
    assert sandbox.sockets.log.most_attempts_in() == 32
    assert sandbox.sockets.log.most_attempts_in(1) == 31
    assert sandbox.sockets.log.most_attempts_in(client="127.0.0.1", market=False) >= 31
    assert sandbox.sockets.log.attempts("another") == []


def test_subscriptions_are_counted_over_all_sockets_of_an_address() -> None:
    with running(limits=SocketLimits(subscriptions=3)) as sandbox, client(sandbox) as one, client(sandbox) as two:
        one.subscribe(candle("BTC"), candle("SLOW"))
        two.subscribe(candle("BTC"))
        refused = two.ask({"method": "subscribe", "subscription": candle("@107")})
        assert refused == {"channel": "error", "data": "Cannot track more than 3 total subscriptions."}
        one.ask({"method": "unsubscribe", "subscription": candle("SLOW")})
        two.subscribe(candle("@107"))


def test_too_many_messages_in_a_minute_end_the_socket() -> None:
    with running(limits=SocketLimits(messages_a_minute=5, idle_ms=None)) as sandbox, client(sandbox) as here:
        for _ in range(5):
            assert here.ask({"method": "ping"}) == {"channel": "pong"}
        pass_time(sandbox, MINUTE)
        here.ask({"method": "ping"})
        for _ in range(4):
            here.ask({"method": "ping"})
        with pytest.raises(ConnectionClosed) as ended:
            here.ask({"method": "ping"})
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1008, "Too many messages")
        assert sandbox.sockets.state()["most_messages_a_minute"] == {"127.0.0.1": 5}


def test_a_socket_that_is_sent_nothing_for_a_minute_is_closed_and_a_pong_is_something(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        pass_time(sandbox, MINUTE - 1)
        here.ask({"method": "ping"})
        pass_time(sandbox, MINUTE - 1)
        here.ask({"method": "ping"})
        pass_time(sandbox, MINUTE)
        with pytest.raises(ConnectionClosed) as ended:
            here.hear()
    assert ended.value.rcvd is not None
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1000, "Inactive")


def test_every_socket_expires_after_three_hours(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 3 * 3_600_000 - 1)
        assert here.until_pong()
        pass_time(sandbox, 1)
        with pytest.raises(ConnectionClosedOK) as ended:
            here.until_pong()
    assert ended.value.rcvd is not None
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1000, "Expired")
    assert closed(sandbox) == [(1000, "Expired")]


def test_a_clock_that_jumps_past_the_end_of_a_socket_tells_nothing_from_beyond_it(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 3 * 3_600_000 + 60 * MINUTE)
        opens = [json.loads(text)["data"]["t"] for text in here.socket]
    assert opens == list(range(FLOOR, NOW + 3 * 3_600_000, MINUTE))


def test_a_reader_that_falls_too_far_behind_is_dropped() -> None:
    limits = SocketLimits(None, None, None, None, None, None, None, backlog=50)
    with running(limits=limits) as sandbox, client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 3 * 3_600_000)
        assert closed(sandbox) == [(1006, "backlog")]


def test_the_exchange_pings_nobody_and_answers_every_protocol_ping(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        assert here.socket.ping(b"anybody there").wait(PATIENCE)
        assert here.ask({"method": "ping"}) == {"channel": "pong"}


def test_a_path_that_is_not_the_socket_s_is_not_found(sandbox: RunningSandbox) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(sandbox.ws_url + "/more", proxy=None)
    assert refused.value.response.status_code == 404


def test_a_get_of_the_socket_s_path_is_no_socket(sandbox: RunningSandbox) -> None:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/ws")
    assert connection.getresponse().status == 404
    connection.close()


def test_the_switchboard_shows_sockets_their_log_and_their_limits(sandbox: RunningSandbox) -> None:
    with client(sandbox, "me") as here:
        here.subscribe(candle(), {"type": "allMids"})
        pass_time(sandbox, MINUTE)
        frames = len(here.until_pong())
        state = json.loads(post(f"{sandbox.url}/sandbox/state", None, method="GET")[1])["sockets"]
        assert (state["connections"], state["subscriptions"], state["topics"]) == (1, 2, 2)
        assert state["frames_sent"] == frames + 3
        assert (state["connects"], state["connects_last_minute"], state["refusals"]) == (1, 0, 0)
        assert state["most_messages_a_minute"] == {"me": 2}
    assert closed(sandbox) == [(1000, "")]
    log = json.loads(post(f"{sandbox.url}/sandbox/sockets?after=1", None, method="GET")[1])
    assert [(event["event"], event["client"], event["frames"], event["messages"]) for event in log] == [
        ("close", "me", frames + 3, 3)
    ]
    assert json.loads(post(f"{sandbox.url}/sandbox/sockets", {"connections": 0})[1])["connections"] == 0
    with pytest.raises(InvalidStatus), client(sandbox):
        pass
    assert json.loads(post(f"{sandbox.url}/sandbox/state", None, method="GET")[1])["sockets"]["subscriptions"] == 0


def test_leaving_the_block_ends_open_sockets_and_the_thread() -> None:
    before = threading.active_count()
    sandbox = running()
    with ExitStack() as stack:
        sandbox.__enter__()
        here = stack.enter_context(client(sandbox))
        here.subscribe(candle())
        sandbox.__exit__()
        with pytest.raises(ConnectionClosed):
            here.until_pong()
    assert threading.active_count() == before


def test_it_follows_this_machine_s_clock() -> None:
    world = World(7, markets=markets_named("BTC"), clock=SystemClock())
    with running(world) as sandbox, client(sandbox) as here:
        here.subscribe(candle(), {"type": "trades", "coin": "BTC"})
        message = here.hear()
        assert message["channel"] in {"candle", "trades"}


def test_it_follows_a_clock_that_runs_faster_and_minutes_stay_in_order() -> None:
    clock = ScaledClock(NOW, 600)
    world = World(7, markets=MARKETS, clock=clock)
    with running(world, limits=NO_LIMITS) as sandbox, client(sandbox) as here:
        here.subscribe(candle())
        frames = [here.hear()["data"] for _ in range(60)]
    assert [row["t"] for row in frames] == sorted(row["t"] for row in frames)
    whole = sorted({row["t"] for row in frames})[:-1]
    assert len(whole) > 3
    assert whole == list(range(whole[0], whole[-1] + 1, MINUTE))


def test_a_process_of_its_own_has_a_socket_and_a_clock_that_others_can_share() -> None:
    with SandboxProcess("--coins", "BTC", "--speed", "120", "--history-days", "2") as sandbox:
        assert sandbox.ws_url == f"ws{sandbox.url.removeprefix('http')}/ws"
        with connect(sandbox.ws_url, proxy=None) as socket:
            socket.send(json.dumps({"method": "subscribe", "subscription": candle()}))
            assert json.loads(socket.recv(PATIENCE))["channel"] == "subscriptionResponse"
            assert json.loads(socket.recv(PATIENCE))["data"]["s"] == "BTC"
        before = json.loads(post(f"{sandbox.url}/sandbox/state", None, method="GET")[1])
        shared = ScaledClock(**before["scale"])
        now = shared.now_ms()
        after = json.loads(post(f"{sandbox.url}/sandbox/state", None, method="GET")[1])
        assert before["now_ms"] <= now <= after["now_ms"]
        assert shared.speed == 120


def test_a_sandbox_that_fails_drops_its_sockets_instead_of_falling_silent(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        monkeypatch.setattr(sandbox.sockets.feed, "until", lambda to_ms: 1 / 0)
        with pytest.raises(ConnectionClosed):
            here.hear()
        assert closed(sandbox) == [(1006, "the sandbox failed")]
    monkeypatch.undo()
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, MINUTE)
        assert here.until_pong()
    gc.collect()
    assert "ZeroDivisionError" in caplog.text


def test_a_process_ends_cleanly_on_sigterm_whoever_is_connected_and_however_badly() -> None:
    with (
        SandboxProcess("--coins", "BTC", "--history-days", "2") as sandbox,
        connect(sandbox.ws_url, proxy=None, close_timeout=1) as ill,
        connect(sandbox.ws_url, proxy=None) as well,
    ):
        for socket in (well, ill):
            socket.send(json.dumps({"method": "subscribe", "subscription": candle()}))
            socket.recv(PATIENCE)
        post(f"{sandbox.url}/sandbox/faults", {"kind": "ws_blackhole", "times": 1})
        os.kill(sandbox.pid, signal.SIGTERM)
        assert sandbox.wait() == 0
        with pytest.raises(ConnectionClosed) as ended:
            list(well)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1012
