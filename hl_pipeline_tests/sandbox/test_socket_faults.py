from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from hl_pipeline.sandbox.faults import SOCKET_KINDS, Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.gate import NO_LIMITS, SocketLimits
from hl_pipeline.sandbox.mischief import Garbage, big_frame
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode
from hl_pipeline_tests.sandbox.sockets import Client, candle, client, closed, pass_time, running
from hl_pipeline_tests.sandbox.worlds import NOW, ask, candle_body, exchange, post

MINUTE = 60_000
FLOOR = NOW - NOW % MINUTE


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running(limits=NO_LIMITS, manners=Manners(QuietMode.DENSE, missed_tail_ms=0)) as sandbox:
        yield sandbox


def opens(messages: list[Any]) -> list[int]:
    return [message["data"]["t"] for message in messages if message["channel"] == "candle"]


def is_reset(here: Client) -> bool:
    """Whether the socket ends without a close frame."""
    with pytest.raises(ConnectionClosedError) as ended:
        here.hear()
    return ended.value.rcvd is None


def test_a_stalled_socket_answers_everything_and_sends_no_data(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        sandbox.faults.add(Fault(FaultKind.WS_STALL, since_ms=NOW + MINUTE, until_ms=NOW + 5 * MINUTE))
        pass_time(sandbox, MINUTE - 1)
        assert here.until_pong()
        pass_time(sandbox, 3 * MINUTE)
        here.subscribe(candle("BTC", "5m"))
        assert here.socket.ping().wait(10)
        assert here.until_pong() == []
        pass_time(sandbox, MINUTE)
        pass_time(sandbox, MINUTE)
        assert set(opens(here.until_pong())) <= {FLOOR + 5 * MINUTE, FLOOR + 6 * MINUTE}


def test_a_stall_may_be_of_one_coin_and_of_one_socket(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_STALL, coin="BTC", times=1))
    with client(sandbox) as one, client(sandbox) as two:
        for here in (one, two):
            here.subscribe(candle("BTC"), candle("@107"))
        pass_time(sandbox, MINUTE)
        pass_time(sandbox, MINUTE)
        assert {message["data"]["s"] for message in one.until_pong()} == {"@107"}
        assert {message["data"]["s"] for message in two.until_pong()} == {"@107", "BTC"}
    sandbox.faults.clear()
    with client(sandbox) as three:
        three.subscribe(candle("BTC"))
        pass_time(sandbox, MINUTE)
        assert three.until_pong()


def test_a_mute_socket_answers_protocol_pings_only() -> None:
    with running(limits=SocketLimits()) as sandbox, client(sandbox) as here:
        here.subscribe(candle())
        sandbox.faults.add(Fault(FaultKind.WS_MUTE, until_ms=NOW + 10 * MINUTE))
        pass_time(sandbox, 9 * MINUTE)
        here.say({"method": "ping"})
        assert here.socket.ping().wait(10)
        pass_time(sandbox, MINUTE)
        assert here.hear()["data"]["t"] == FLOOR + 10 * MINUTE


def test_a_black_hole_answers_nothing_until_it_ends(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        sandbox.faults.add(Fault(FaultKind.WS_BLACKHOLE, until_ms=NOW + 5 * MINUTE))
        pass_time(sandbox, MINUTE)
        pong = here.socket.ping()
        with pytest.raises(TimeoutError):
            here.socket.recv(timeout=0.2)
        assert not pong.is_set()
        pass_time(sandbox, 5 * MINUTE)
        assert pong.wait(10)
        assert opens(here.until_pong()) == [FLOOR + 5 * MINUTE, FLOOR + 6 * MINUTE]


def test_a_drop_resets_the_sockets_that_are_open_and_none_that_come_later(sandbox: RunningSandbox) -> None:
    with client(sandbox) as one, client(sandbox) as two:
        sandbox.faults.add(Fault(FaultKind.WS_DROP, since_ms=NOW + MINUTE, until_ms=NOW + MINUTE + 1))
        assert one.until_pong() == two.until_pong() == []
        pass_time(sandbox, 2 * MINUTE)
        assert is_reset(one)
        assert is_reset(two)
    assert closed(sandbox, 2) == [(1006, "ws_drop")] * 2
    with client(sandbox) as three:
        three.subscribe(candle())
        pass_time(sandbox, MINUTE)
        assert three.until_pong()


def test_a_drop_may_hit_a_part_of_the_sockets(sandbox: RunningSandbox) -> None:
    with client(sandbox), client(sandbox), client(sandbox) as last:
        sandbox.faults.add(Fault(FaultKind.WS_DROP, times=2))
        assert closed(sandbox, 2) == [(1006, "ws_drop")] * 2
        assert last.until_pong() == []


def test_a_socket_may_be_accepted_and_dropped_at_once(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_ACCEPT_THEN_DROP, times=2))
    for _ in range(2):
        with client(sandbox) as here:
            assert is_reset(here)
    with client(sandbox) as here:
        assert here.until_pong() == []
    assert closed(sandbox, 3)[:2] == [(1006, "ws_accept_then_drop")] * 2


@pytest.mark.parametrize(("amount", "status"), [(0, 503), (502, 502)])
def test_a_handshake_may_be_refused(sandbox: RunningSandbox, amount: int, status: int) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_REFUSE, amount=amount, until_ms=NOW + MINUTE))
    with pytest.raises(InvalidStatus) as refused, client(sandbox):
        pass
    assert refused.value.response.status_code == status
    sandbox.clock.advance(MINUTE)  # type: ignore[attr-defined]
    with client(sandbox):
        pass
    assert [(event.event, event.code) for event in sandbox.sockets.log.attempts()] == [
        ("refuse", status),
        ("connect", 0),
    ]


def test_the_forced_close_may_come_now_and_once(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        sandbox.faults.add(Fault(FaultKind.WS_EXPIRE))
        with pytest.raises(ConnectionClosedOK) as ended:
            here.hear()
    assert ended.value.rcvd is not None
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1000, "Expired")
    with client(sandbox) as here:
        assert here.until_pong() == []


@pytest.mark.parametrize(("amount", "size"), [(0, 4 * 1024 * 1024 + 1), (2 * 1024 * 1024 + 7, 2 * 1024 * 1024 + 7)])
def test_a_frame_may_be_too_big_for_its_reader(sandbox: RunningSandbox, amount: int, size: int) -> None:
    assert len(big_frame(amount)) == size
    json.loads(big_frame(amount))
    sandbox.faults.add(Fault(FaultKind.WS_BIG_FRAME, amount=amount, times=1))
    with client(sandbox, max_size=size - 1) as here:
        here.subscribe(candle())
        pass_time(sandbox, MINUTE)
        with pytest.raises(ConnectionClosed):
            here.hear()
    assert closed(sandbox)[0][0] == 1009


def test_a_subscription_may_be_acknowledged_twice(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_DUPLICATE_ACKS, times=1))
    with client(sandbox) as here:
        one = here.ask({"method": "subscribe", "subscription": candle()})
        assert here.hear() == one
        here.subscribe(candle("@107"))
        assert here.until_pong() == []


def test_a_frame_may_come_twice(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_DUPLICATE, request="candle", times=2))
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 4 * MINUTE)
        heard = opens(here.until_pong())
    assert heard == sorted(heard)
    assert len(heard) == len(set(heard)) + 2


def test_a_frame_may_come_after_the_next_one_and_none_is_lost(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(FaultKind.WS_REORDER, coin="BTC", times=1))
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 3 * MINUTE)
        heard = opens(here.until_pong())
    assert heard == [FLOOR + number * MINUTE for number in (1, 0, 2, 3)]


def test_a_slow_socket_hears_everything_late_and_in_order(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        slow = sandbox.faults.add(Fault(FaultKind.WS_SLOW, amount=90_000))[0]
        pass_time(sandbox, MINUTE)
        assert here.until_pong() == []
        pass_time(sandbox, MINUTE)
        late = opens(here.until_pong())
        assert late == [FLOOR]
        sandbox.faults.remove(slow)
        pass_time(sandbox, 3 * MINUTE)
        late += opens(here.until_pong())
    assert late == sorted(late)
    assert late[-1] >= FLOOR + 3 * MINUTE


def is_sound(text: str | bytes) -> bool:
    """Whether a frame is a candle of BTC 1m that could be true."""
    try:
        row = json.loads(text)["data"]
        prices = [Decimal(row[name]) for name in "ohlc"]
        return (
            isinstance(text, str)
            and (row["s"], row["i"], row["t"] % MINUTE, row["T"]) == ("BTC", "1m", 0, row["t"] + MINUTE - 1)
            and not any("_" in row[name] for name in "ohlcv")
            and all(price.is_finite() for price in prices)
            and prices[2] <= min(prices) <= max(prices) <= prices[1]
            and type(row["n"]) is int
            and row["n"] > 0
            and Decimal(row["v"]) > 0
        )
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return False


def test_no_garbage_could_be_taken_for_a_candle_and_the_honest_frame_still_comes(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, MINUTE)
        honest = json.dumps(here.until_pong()[-1])
        assert is_sound(honest)
        lies = Garbage()
        kinds = [lies.next(honest) for _ in range(42)]
        assert kinds[:21] == kinds[21:]
        assert len(set(kinds)) == 21
        assert not any(is_sound(lie) for lie in kinds)
        sandbox.faults.add(Fault(FaultKind.WS_GARBAGE, request="candle"))
        heard: list[str | bytes] = []
        pass_time(sandbox, 25 * MINUTE)
        here.say({"method": "ping"})
        while (message := here.socket.recv(timeout=10)) != '{"channel":"pong"}':
            heard.append(message)
    honest_frames = [text for text in heard if is_sound(text)]
    told = [json.loads(text)["data"]["t"] for text in honest_frames]
    assert told[-25:] == [FLOOR + number * MINUTE for number in range(2, 27)]
    assert len(heard) == 2 * len(honest_frames)


def test_garbage_about_other_channels_is_made_up() -> None:
    lies = Garbage()
    made = [lies.next('{"channel":"allMids","data":{"mids":{}}}') for _ in range(21)]
    assert len(set(made)) == 21


def test_an_endpoint_may_be_down_with_all_its_faces(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        sandbox.faults.dead(NOW + MINUTE, NOW + 6 * MINUTE)
        assert here.until_pong() == []
        pass_time(sandbox, 2 * MINUTE)
        assert is_reset(here)
    with pytest.raises(InvalidStatus), client(sandbox):
        pass
    assert post(f"{sandbox.url}/info", {"type": "meta"})[0] == 502
    sandbox.clock.advance(4 * MINUTE)  # type: ignore[attr-defined]
    with client(sandbox) as here:
        here.subscribe(candle())
    assert post(f"{sandbox.url}/info", {"type": "meta"})[0] == 200


def test_faults_of_sockets_leave_rest_alone() -> None:
    there = exchange(faults=FaultPlan(1, [Fault(kind) for kind in SOCKET_KINDS]))
    assert ask(there, candle_body("BTC", "1m", NOW, None)).status == 200
    assert there.log.entries()[0].fault == ""


def test_faults_of_rest_leave_sockets_alone(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(*(Fault(kind, opens_ms=(FLOOR,)) for kind in FaultKind if kind not in SOCKET_KINDS))
    with client(sandbox) as here:
        here.subscribe(candle())
        pass_time(sandbox, 3 * MINUTE)
        assert opens(here.until_pong()) == [FLOOR + number * MINUTE for number in range(4)]


def test_the_switchboard_plans_faults_of_sockets(sandbox: RunningSandbox) -> None:
    with client(sandbox) as here:
        assert post(f"{sandbox.url}/sandbox/faults", {"kind": "ws_drop", "times": 1})[0] == 200
        assert is_reset(here)


def test_a_seeded_plan_has_every_kind_of_socket_fault_within_its_span() -> None:
    plan = FaultPlan(1)
    plan.trouble_sockets(5, NOW, NOW + 120 * MINUTE)
    faults = list(plan.in_force().values())
    assert {fault.kind for fault in faults} == SOCKET_KINDS
    assert all(fault.since_ms is not None and fault.since_ms >= NOW for fault in faults)
    assert all(fault.until_ms is not None and fault.until_ms <= NOW + 120 * MINUTE for fault in faults)
    assert all(fault.since_ms < fault.until_ms for fault in faults if fault.since_ms and fault.until_ms)
    same, other = FaultPlan(2), FaultPlan(2)
    same.trouble_sockets(5, NOW, NOW + 120 * MINUTE)
    other.trouble_sockets(6, NOW, NOW + 120 * MINUTE)
    assert list(same.in_force().values()) == faults
    assert list(other.in_force().values()) != faults
