"""A socket that is kept alive whatever the exchange does to it, within what the exchange allows."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from hl_pipeline.model.clock import ScaledClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.live import Watch
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.gate import SocketLimits
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.frames import CandleFrame, ContextFrame, Frame, Subscription, Unused
from hl_pipeline.source.stream import Allowance, StreamSocket, StreamTiming, back_off_seconds
from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW
from hl_pipeline_tests.source.talker import Sink, Talker, acknowledge, candle_text, until

SPEED = 60.0
MINUTE = 60_000
TIMING = StreamTiming().faster(SPEED)
WANTED = (Subscription("allMids"), Subscription("candle", "BTC"), Subscription("activeAssetCtx", "BTC"))
#: Longer than any test: the fault ends when a test says so.
FOREVER: dict[str, Any] = {"until_ms": NOW + 100_000 * MINUTE}


def running(*, limits: SocketLimits | None = None) -> RunningSandbox:
    """A sandbox whose minutes take a second."""
    world = World(7, markets=MARKETS, clock=ScaledClock(NOW, SPEED))
    return RunningSandbox(world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE), limits=limits)


@asynccontextmanager
async def following(
    urls: Collection[str],
    sink: Sink,
    wanted: Collection[Subscription] = WANTED,
    *,
    timing: StreamTiming = TIMING,
    most_connects: int = 1_000,
    messages: Allowance | None = None,
    public_only: bool = False,
) -> AsyncIterator[StreamSocket]:
    """A socket at work until the end of the block."""
    allowance = Allowance(most_connects, window=timing.connects_window)
    socket = StreamSocket(
        0, urls, wanted, sink, ScaledClock(NOW, SPEED), allowance, timing, messages=messages, public_only=public_only
    )
    task = asyncio.create_task(socket.run())
    try:
        yield socket
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def closes(sandbox: RunningSandbox) -> list[tuple[int, str]]:
    return [(event.code, event.reason) for event in sandbox.sockets.log.entries() if event.event == "close"]


def on_sandbox(story: Callable[[RunningSandbox, Sink], Coroutine[Any, Any, None]]) -> None:
    with running() as sandbox:

        async def run() -> None:
            await story(sandbox, Sink())

        asyncio.run(run())


def test_what_is_wanted_is_subscribed_once_and_its_frames_arrive() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: {CandleFrame, ContextFrame, Unused} <= {type(frame) for frame in sink.frames})
            assert len(sink.connected) == socket.status.connects == 1
            assert sandbox.sockets.state()["subscriptions"] == socket.subscriptions == 3
            assert (socket.status.state, socket.status.url, socket.status.rejected) == ("connected", sandbox.ws_url, 0)

    on_sandbox(story)


@pytest.mark.parametrize("kind", [FaultKind.WS_STALL, FaultKind.WS_MUTE, FaultKind.WS_BLACKHOLE])
def test_a_socket_that_is_open_and_silent_counts_as_dead_and_is_replaced(kind: FaultKind) -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: bool(sink.frames))
            sandbox.faults.add(Fault(kind, times=1))
            await sink.until(lambda: len(sink.connected) >= 2)
            # a socket that answers nothing may also be found out by the pings of its protocol
            assert socket.status.last_error is not None
            assert "no data for" in socket.status.last_error or "keepalive" in socket.status.last_error
            seen = len(sink.frames)
            await sink.until(lambda: "BTC" in sink.coins(seen))

    on_sandbox(story)


@pytest.mark.parametrize("kind", [FaultKind.WS_DROP, FaultKind.WS_EXPIRE])
def test_a_socket_that_is_cut_or_closed_comes_back_with_all_its_subscriptions(kind: FaultKind) -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        async with following([sandbox.ws_url], sink):
            await sink.until(lambda: bool(sink.frames))
            sandbox.faults.add(Fault(kind))
            await sink.until(lambda: len(sink.connected) == 2)
            assert len(sink.broken) == 1
            assert sandbox.sockets.state()["subscriptions"] == 3
            seen = len(sink.frames)
            await sink.until(lambda: "BTC" in sink.coins(seen))

    on_sandbox(story)


def test_a_frame_that_is_too_big_ends_the_connection_with_1009_and_the_next_one_goes_on() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        async with following([sandbox.ws_url], sink):
            await sink.until(lambda: bool(sink.frames))
            sandbox.faults.add(Fault(FaultKind.WS_BIG_FRAME, request="candle", times=1))
            await sink.until(lambda: len(sink.connected) == 2)
            assert [code for code, _ in closes(sandbox)] == [1009]

    on_sandbox(story)


def test_who_is_accepted_and_dropped_tries_again_within_the_cap() -> None:
    cap = 3

    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        sandbox.faults.add(Fault(FaultKind.WS_ACCEPT_THEN_DROP, times=7))
        async with following([sandbox.ws_url], sink, most_connects=cap, timing=replace(TIMING, back_off=0.001)):
            await sink.until(lambda: bool(sink.connected))
        log = sandbox.sockets.log
        assert len(log.attempts()) == 8
        # what the server sees may lie a little closer together than what the client sent
        assert log.most_attempts_in(54_000) <= cap

    on_sandbox(story)


def test_a_refused_handshake_is_tried_again() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        sandbox.faults.add(Fault(FaultKind.WS_REFUSE, times=3))
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: bool(sink.connected))
            assert len(sink.broken) == 3
            assert "503" in (socket.status.last_error or "")

    on_sandbox(story)


def test_the_second_endpoint_is_used_when_the_first_one_fails_and_the_first_when_the_second_does() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            one, two = (stack.enter_context(running()) for _ in range(2))
            refused = one.faults.add(Fault(FaultKind.WS_REFUSE, **FOREVER))[0]
            sink = Sink()
            async with following([one.ws_url, two.ws_url], sink) as socket:
                await sink.until(lambda: len(sink.connected) == 1)
                assert socket.status.url == two.ws_url
                one.faults.remove(refused)
                two.faults.add(Fault(FaultKind.WS_DROP), Fault(FaultKind.WS_REFUSE, **FOREVER))
                await sink.until(lambda: len(sink.connected) == 2)
                assert socket.status.url == one.ws_url

    asyncio.run(run())


def test_a_socket_elsewhere_returns_to_the_first_endpoint_once_that_works_and_misses_nothing() -> None:
    async def run() -> None:
        with ExitStack() as stack:
            one, two = (stack.enter_context(running()) for _ in range(2))
            refused = one.faults.add(Fault(FaultKind.WS_REFUSE, **FOREVER))[0]
            sink = Sink()
            async with following([one.ws_url, two.ws_url], sink, timing=replace(TIMING, return_after=0.1)) as socket:
                await sink.until(lambda: len(sink.connected) == 1)
                assert socket.status.url == two.ws_url
                broken = len(sink.broken)
                before = len(one.sockets.log.attempts())
                await sink.until(lambda: len(one.sockets.log.attempts()) >= before + 2)
                assert socket.status.url == two.ws_url, "who refuses is tried, and the connection that works is kept"
                one.faults.remove(refused)
                await sink.until(lambda: len(sink.connected) == 2)
                assert socket.status.url == one.ws_url
                assert len(sink.broken) == broken, "the new connection stood before the old one ended"

    asyncio.run(run())


def test_a_redirect_is_not_followed() -> None:
    def elsewhere(_connection: ServerConnection, _request: Request) -> Response:
        return Response(302, "Found", Headers({"Location": other.url, "Content-Length": "0"}))

    async def story() -> None:
        async with following([url], Sink()) as socket:
            await until(lambda: socket.status.connects >= 2)
            assert "302" in (socket.status.last_error or "")

    with Talker() as other, serve(lambda _: None, "127.0.0.1", 0, process_request=elsewhere) as server:
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        asyncio.run(story())
        server.shutdown()
        thread.join()
        assert other.heard == []


def test_a_host_that_leads_inside_is_not_spoken_to() -> None:
    async def story() -> None:
        async with following([talker.url], Sink(), public_only=True) as socket:
            await until(lambda: socket.status.connects >= 2)
            assert "no address of the public internet" in (socket.status.last_error or "")

    with Talker() as talker:
        asyncio.run(story())
        assert talker.heard == []


def test_acknowledgements_that_come_twice_change_nothing() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        sandbox.faults.add(Fault(FaultKind.WS_DUPLICATE_ACKS, **FOREVER))
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: "BTC" in sink.coins())
            assert (socket.status.connects, socket.status.rejected, socket.status.complaints) == (1, 0, 0)

    on_sandbox(story)


def test_garbage_repeated_and_reordered_frames_break_nothing_and_no_lie_gets_through() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        kinds = (FaultKind.WS_GARBAGE, FaultKind.WS_DUPLICATE, FaultKind.WS_REORDER)
        sandbox.faults.add(*(Fault(kind, request="candle", chance=0.5, **FOREVER) for kind in kinds))
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: socket.status.rejected > 5)
            assert socket.status.connects == 1
        told = [frame.candle for frame in sink.frames if isinstance(frame, CandleFrame) and frame.coin == "BTC"]
        newest = {candle.open_ms: candle for candle in sorted(told, key=lambda candle: candle.trades)}
        truth = sandbox.truth.candles("BTC", Interval.M1, min(newest), max(newest))
        for true in truth:
            assert newest[true.open_ms].open == true.open
            assert newest[true.open_ms].trades <= true.trades

    on_sandbox(story)


def test_a_new_connection_takes_over_before_the_old_one_ends_and_nothing_is_missed() -> None:
    class Watching(Sink):
        def __init__(self) -> None:
            super().__init__()
            self.watch = Watch()
            self.begun: list[bool] = []

        def on_frame(self, socket: int, frame: Frame, now_ms: int) -> None:
            self.watch.data(now_ms)
            super().on_frame(socket, frame, now_ms)

        def on_connected(self, socket: int, now_ms: int) -> None:
            self.begun.append(self.watch.begin(now_ms))
            super().on_connected(socket, now_ms)

    async def story(sandbox: RunningSandbox, _: Sink) -> None:
        sink = Watching()
        async with following([sandbox.ws_url], sink, timing=replace(TIMING, rotate=0.3)):
            await sink.until(lambda: len(sink.connected) >= 4)
            assert sink.broken == []
        assert sink.begun == [True] + [False] * (len(sink.begun) - 1)
        events = sorted(sandbox.sockets.log.entries(), key=lambda event: event.number)
        assert [event.event for event in events[:3]] == ["connect", "connect", "close"]
        opens = 0
        for event in events[: 2 * len(sink.connected) - 1]:
            opens += 1 if event.event == "connect" else -1
            assert 0 < opens <= 2

    on_sandbox(story)


def test_a_rotation_that_fails_leaves_the_old_connection_alone_until_one_succeeds() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        timing = replace(TIMING, rotate=0.2, longest_back_off=0.05)
        async with following([sandbox.ws_url], sink, timing=timing):
            await sink.until(lambda: bool(sink.connected))
            sandbox.faults.add(Fault(FaultKind.WS_REFUSE, times=3))
            await sink.until(lambda: len(sink.connected) >= 2)
            assert sink.broken == []
            assert sum(event.event == "refuse" for event in sandbox.sockets.log.attempts()) == 3

    on_sandbox(story)


def test_what_is_wanted_may_change_while_connected() -> None:
    async def story(sandbox: RunningSandbox, sink: Sink) -> None:
        async with following([sandbox.ws_url], sink) as socket:
            await sink.until(lambda: "BTC" in sink.coins())
            socket.want([Subscription("allMids"), Subscription("candle", "@107")])
            await sink.until(lambda: "@107" in sink.coins())
            await sink.until(lambda: sandbox.sockets.state()["subscriptions"] == 2)
            seen = len(sink.frames)
            await sink.until(lambda: "@107" in sink.coins(seen))
            assert sink.coins(seen) == {"@107"}
            sandbox.faults.add(Fault(FaultKind.WS_DROP))
            await sink.until(lambda: len(sink.connected) == 2)
            assert sandbox.sockets.state()["subscriptions"] == socket.subscriptions == 2

    on_sandbox(story)


def subscribed(talker: Talker) -> list[str]:
    """The coins of the candle subscriptions that a talker heard, in order; ended ones with a minus."""
    return [
        ("" if message["method"] == "subscribe" else "-") + message["subscription"]["coin"]
        for message in talker.heard
        if message.get("subscription", {}).get("type") == "candle"
    ]


def test_what_becomes_wanted_while_a_connection_is_made_is_asked_for_once_it_stands() -> None:
    async def run() -> None:
        held: list[str] = []

        def hold_back(message: dict[str, Any]) -> list[str]:
            held.extend(acknowledge(message))
            return []

        with Talker(hold_back) as talker:
            sink = Sink()
            async with following([talker.url], sink, [Subscription("candle", "BTC")], timing=StreamTiming()) as socket:
                await until(lambda: bool(held))
                socket.want([Subscription("candle", "ETH")])
                talker.script = acknowledge
                talker.say(*held)
                await sink.until(lambda: subscribed(talker) == ["BTC", "ETH", "-BTC"])
                assert socket.status.connects == 1

    asyncio.run(run())


def test_what_becomes_wanted_while_a_second_connection_is_made_is_asked_of_both() -> None:
    async def run() -> None:
        held: list[str] = []

        def second_time(message: dict[str, Any]) -> list[str]:
            if subscribed(talker).count("BTC") == 2 and message["method"] == "subscribe" and not held:
                held.extend(acknowledge(message))
                return []
            return acknowledge(message)

        with Talker(second_time) as talker:
            sink = Sink()
            timing = replace(StreamTiming(), rotate=0.2)
            async with following([talker.url], sink, [Subscription("candle", "BTC")], timing=timing) as socket:
                await until(lambda: bool(held))
                socket.want([Subscription("candle", "BTC"), Subscription("candle", "ETH")])
                await until(lambda: subscribed(talker).count("ETH") == 1)
                talker.say(*held)
                await sink.until(lambda: len(sink.connected) == 2)
                await until(lambda: subscribed(talker).count("ETH") == 2)

    asyncio.run(run())


def test_already_subscribed_is_as_good_as_a_yes_and_a_refused_market_holds_up_nobody() -> None:
    def odd(message: dict[str, Any]) -> list[str]:
        echo = json.dumps(message.get("subscription"))
        words = {"BTC": f"Already subscribed: {echo}", "NOPE": f"Invalid subscription {echo}"}
        for coin, text in words.items():
            if f'"{coin}"' in echo:
                return [json.dumps({"channel": "error", "data": text})]
        return acknowledge(message)

    async def run() -> None:
        with Talker(odd) as talker:
            sink = Sink()
            wanted = [Subscription("candle", coin) for coin in ("BTC", "NOPE", "ETH")]
            async with following([talker.url], sink, wanted, timing=StreamTiming()) as socket:
                await sink.until(lambda: bool(sink.connected))
                assert (socket.status.complaints, socket.status.connects) == (2, 1)
                talker.say(candle_text(NOW - NOW % MINUTE, "ETH"))
                await sink.until(lambda: sink.coins() == {"ETH"})

    asyncio.run(run())


def test_a_subscription_that_nobody_confirms_ends_the_connection_and_is_named() -> None:
    async def run() -> None:
        with Talker(lambda message: [] if '"ETH"' in json.dumps(message) else acknowledge(message)) as talker:
            sink = Sink()
            wanted = [Subscription("candle", "BTC"), Subscription("candle", "ETH")]
            async with following([talker.url], sink, wanted, timing=replace(TIMING, subscribe=0.2)) as socket:
                await sink.until(lambda: len(sink.broken) >= 2)
                assert "1 subscriptions were not confirmed, among them candle ETH" in (socket.status.last_error or "")
                talker.script = acknowledge
                await sink.until(lambda: bool(sink.connected))

    asyncio.run(run())


def test_subscribing_again_and_again_stays_within_the_messages_of_a_minute() -> None:
    async def run() -> None:
        with running(limits=SocketLimits(messages_a_minute=10)) as sandbox:
            sink = Sink()
            window = 66 / SPEED  # a little more than a minute of the sandbox
            async with following([sandbox.ws_url], sink, messages=Allowance(8, window=window)):
                for count in range(1, 5):
                    await sink.until(lambda count=count: len(sink.connected) >= count)  # type: ignore[misc]
                    sandbox.faults.add(Fault(FaultKind.WS_DROP))
                    await sink.until(lambda count=count: len(sink.broken) >= count)  # type: ignore[misc]
        assert max(sandbox.sockets.messages.most.values()) <= 10
        assert {reason for _, reason in closes(sandbox)} == {"ws_drop"}

    asyncio.run(run())


@given(st.integers(1, 200))
def test_pauses_double_with_jitter_up_to_a_bound(failures: int) -> None:
    timing = StreamTiming(back_off=0.5, longest_back_off=60.0)
    most = min(0.5 * 2 ** (failures - 1), 60.0)
    pauses = {back_off_seconds(failures, timing) for _ in range(20)}
    assert all(most / 2 <= pause <= most for pause in pauses)
    assert len(pauses) > 1


@given(st.lists(st.integers(1, 7), min_size=1, max_size=30), st.integers(1, 5))
def test_an_allowance_never_gives_more_than_it_has_in_a_window(counts: list[int], most: int) -> None:
    allowance = Allowance(most, window=1_000_000.0)
    taken = sum(min(count, most) for count in counts if allowance.wait_seconds(count) == 0.0)
    assert taken <= most


def test_an_allowance_gives_anew_once_the_window_has_passed() -> None:
    allowance = Allowance(2, window=0.05)
    assert allowance.wait_seconds(2) == 0.0
    assert 0.0 < allowance.wait_seconds() <= 0.05

    async def waited() -> int:
        looks = 0
        while wait := allowance.wait_seconds(5):
            looks += 1
            await asyncio.sleep(wait)
        return looks

    assert asyncio.run(waited()) >= 1
