"""A plain WebSocket client for the sandbox's tests, and small worlds with sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.faults import FaultPlan
from hl_pipeline.sandbox.gate import SocketLimits
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.worlds import world

Json = dict[str, Any]
#: How long a test waits for what must come.
PATIENCE = 10.0


def candle(coin: str = "BTC", interval: str = "1m") -> Json:
    return {"type": "candle", "coin": coin, "interval": interval}


class Client:
    """One socket. ``heard`` keeps everything that was received, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, message: object) -> None:
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def hear(self) -> Any:
        """The next message, decoded if it is JSON."""
        text = self.socket.recv(timeout=PATIENCE)
        try:
            return json.loads(text)
        except ValueError:
            return text

    def ask(self, message: object) -> Any:
        """Say something and hear what comes next."""
        self.say(message)
        return self.hear()

    def subscribe(self, *wishes: Json) -> None:
        for wish in wishes:
            answer = self.ask({"method": "subscribe", "subscription": wish})
            assert answer["channel"] == "subscriptionResponse", answer

    def until_pong(self) -> list[Any]:
        """Everything sent so far."""
        self.say({"method": "ping"})
        heard = []
        while (message := self.hear()) != {"channel": "pong"}:
            heard.append(message)
        return heard


@contextmanager
def client(sandbox: RunningSandbox, name: str = "", **options: Any) -> Iterator[Client]:
    """A connected client; ``name`` makes it another address."""
    headers = {"x-sandbox-client": name} if name else None
    options = {"ping_interval": None, "open_timeout": PATIENCE, "close_timeout": 1, **options}
    with connect(sandbox.ws_url, proxy=None, additional_headers=headers, **options) as socket:
        yield Client(socket)


def running(
    here: World | None = None,
    *,
    limits: SocketLimits | None = None,
    manners: Manners | None = None,
    faults: FaultPlan | None = None,
    limiter: LimiterMode = LimiterMode.OFF,
) -> RunningSandbox:
    """A sandbox whose clock stands still until a test moves it."""
    return RunningSandbox(
        here or world(), limiter=limiter, manners=manners or Manners(QuietMode.DENSE), limits=limits, faults=faults
    )


def pass_time(sandbox: RunningSandbox, milliseconds: int) -> None:
    """Move market time, and wait until the sandbox has seen it."""
    assert isinstance(sandbox.clock, ManualClock)
    sandbox.clock.advance(milliseconds)
    seen(sandbox)


def seen(sandbox: RunningSandbox) -> None:
    """Wait until everything up to now has been told."""
    deadline = time.monotonic() + PATIENCE
    while sandbox.sockets.feed.seen_ms < sandbox.clock.now_ms():
        assert time.monotonic() < deadline, "the sandbox does not look at its clock"
        time.sleep(0.002)


def closed(sandbox: RunningSandbox, count: int = 1) -> list[tuple[int, str]]:
    """Code and reason of the sockets that have ended, once there are ``count`` of them."""
    deadline = time.monotonic() + PATIENCE
    while len(ends := [event for event in sandbox.sockets.log.entries() if event.event == "close"]) < count:
        assert time.monotonic() < deadline, f"{len(ends)} sockets have ended, not {count}"
        time.sleep(0.002)
    return [(event.code, event.reason) for event in ends]
