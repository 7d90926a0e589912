"""The HTTP face of the sandbox, on loopback only, and the ways to run it: here, in a thread, in a process.

POST /info answers as the exchange and /ws is its WebSocket; /sandbox/* is the switchboard:

GET    /sandbox/state       seed, clock, manners, limiter, faults in force, requests so far
POST   /sandbox/faults      a fault or a list of faults, fields as in ``faults.Fault``
DELETE /sandbox/faults      all faults end
POST   /sandbox/clock       {"advance_ms": n} or {"set_ms": n}; 409 unless the clock is manual
POST   /sandbox/manners     fields of ``world.Manners``
POST   /sandbox/limiter     {"mode": "bucket"}; one of ``limiter.LimiterMode``, nothing spent yet
GET    /sandbox/log         ?after=NUMBER; requests, oldest first
POST   /sandbox/sockets     fields of ``gate.SocketLimits``; the others take their defaults
GET    /sandbox/sockets     ?after=NUMBER; sockets opened, refused, closed, oldest first
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict
from typing import Any, Self
from urllib.parse import parse_qs

import msgspec
import uvicorn

from hl_pipeline.model.clock import Clock, ManualClock, ScaledClock
from hl_pipeline.sandbox.exchange import TEXT, Answer, Exchange
from hl_pipeline.sandbox.faults import Fault, FaultPlan
from hl_pipeline.sandbox.gate import SocketLimits
from hl_pipeline.sandbox.hub import Hub
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.request_log import RequestLog
from hl_pipeline.sandbox.socket import PATH, SandboxProtocol, serve_socket
from hl_pipeline.sandbox.truth import Truth
from hl_pipeline.sandbox.world import Manners, World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: A request may name its client; without it the peer's address is the client, as on the exchange.
CLIENT_HEADER = b"x-sandbox-client"
_DRIP_BYTES = 64
_LARGEST_BODY = 1_000_000


class SandboxApp:
    """The ASGI application around an exchange and its sockets."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.exchange = hub.exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request, or talk with one socket."""
        headers = dict(scope["headers"])
        client = headers.get(CLIENT_HEADER)
        name = client.decode("latin-1") if client else (scope["client"] or ("local",))[0]
        if scope["type"] == "websocket":
            await serve_socket(self.hub, scope, name, receive, send)
            return
        method, path = scope["method"], scope["path"]
        body = await _body(receive)
        if path.startswith("/sandbox/") and b"origin" in headers:
            # a web page somewhere, not the operator
            await _send(send, Answer(403, b"the switchboard is not for web pages", TEXT))
        elif path != "/info":
            await _send(send, self._switch(method, path, scope, body))
        elif method != "POST":
            await _send(send, Answer(405, b"", TEXT))
        else:
            await _send(send, self.exchange.answer(body, name))

    def _switch(self, method: str, path: str, scope: Scope, body: bytes) -> Answer:
        """The switchboard; 404 for what it does not have, 400 for what it cannot read."""
        try:
            if method == "GET":
                return self._show(path, scope)
            return self._turn(method, path, body)
        except (msgspec.DecodeError, ValueError) as error:
            return Answer(400, str(error).encode(), TEXT)

    def _show(self, path: str, scope: Scope) -> Answer:
        match path:
            case "/sandbox/state":
                return _json(self._state())
            case "/sandbox/log":
                return _json([asdict(entry) for entry in self.exchange.log.entries(_after(scope))])
            case "/sandbox/sockets":
                return _json([asdict(event) for event in self.hub.log.entries(_after(scope))])
        return Answer(404, b"", TEXT)

    def _turn(self, method: str, path: str, body: bytes) -> Answer:
        match method, path:
            case "POST", "/sandbox/faults":
                faults = msgspec.json.decode(body, type=Fault | list[Fault])
                return _json(self.exchange.faults.add(*([faults] if isinstance(faults, Fault) else faults)))
            case "DELETE", "/sandbox/faults":
                self.exchange.faults.clear()
                return _json(None)
            case "POST", "/sandbox/clock":
                return self._move_clock(body)
            case "POST", "/sandbox/limiter":
                mode = msgspec.json.decode(body, type=dict[str, LimiterMode]).get("mode", LimiterMode.BUCKET)
                now = self.exchange.limiter
                self.exchange.limiter = WeightLimiter(mode, now.clock, now.per_minute)
                return _json({"mode": mode})
            case "POST", "/sandbox/sockets":
                self.hub.limits = msgspec.json.decode(body, type=SocketLimits)
                return _json(asdict(self.hub.limits))
            case "POST", "/sandbox/manners":
                self.exchange.manners = msgspec.json.decode(body, type=Manners)
                return _json(asdict(self.exchange.manners))
        return Answer(404, b"", TEXT)

    def _state(self) -> dict[str, Any]:
        exchange, clock = self.exchange, self.exchange.world.clock
        return {
            "seed": exchange.world.seed,
            "now_ms": clock.now_ms(),
            "clock": type(clock).__name__,
            # what another process makes the same clock from
            "scale": vars(clock) if isinstance(clock, ScaledClock) else None,
            "manners": asdict(exchange.manners),
            "limiter": exchange.limiter.mode.value,
            "faults": {number: asdict(fault) for number, fault in exchange.faults.in_force().items()},
            "requests": len(exchange.log.entries()),
            "weight": exchange.log.weight(),
            "refusals": exchange.log.refusals(),
            "sockets": self.hub.state(),
        }

    def _move_clock(self, body: bytes) -> Answer:
        clock = self.exchange.world.clock
        if not isinstance(clock, ManualClock):
            return Answer(409, b"the clock is not manual: start the sandbox with one to move it", TEXT)
        move = msgspec.json.decode(body, type=dict[str, int])
        if "set_ms" in move:
            clock.set(move["set_ms"])
        clock.advance(move.get("advance_ms", 0))
        return _json({"now_ms": clock.now_ms()})


def _after(scope: Scope) -> int:
    return int(parse_qs(scope["query_string"].decode()).get("after", ["0"])[0])


def _json(value: object) -> Answer:
    return Answer(200, msgspec.json.encode(value))


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= _LARGEST_BODY:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send(send: Send, answer: Answer) -> None:
    if answer.latency_ms:
        await asyncio.sleep(answer.latency_ms / 1000)
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
    if answer.retry_after:
        headers.append((b"retry-after", answer.retry_after.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.cut:
        # returning before the promised length makes the server drop the connection
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
        return
    if answer.drip_ms:
        for at in range(0, len(answer.body), _DRIP_BYTES):
            piece = answer.body[at : at + _DRIP_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(answer.drip_ms / 1000)
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.body", "body": answer.body})


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    return socket.create_server(("127.0.0.1", port), backlog=512)


def make_server(hub: Hub) -> uvicorn.Server:
    """A uvicorn server, silent: cut answers are no errors of ours."""
    config = uvicorn.Config(
        SandboxApp(hub),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws=SandboxProtocol,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(
    exchange: Exchange,
    port: int = 0,
    *,
    listener: socket.socket | None = None,
    limits: SocketLimits | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return; ``ready`` is told the URL once the port is taken.

    ``listener`` is a listening socket to use instead of ``port``.

    Raises:
        OSError: the port is taken.
    """
    # uvicorn raises the signal again once it has stopped; that must not end the process with an error
    kept = {name: signal.signal(name, lambda *_: None) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        with listener or listen(port) as heard:
            if ready is not None:
                ready(url_of(heard))
            make_server(Hub(exchange, limits)).run(sockets=[heard])
    finally:
        for name, handler in kept.items():
            signal.signal(name, handler)


def url_of(listener: socket.socket) -> str:
    """The address a client uses."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def socket_url_of(url: str) -> str:
    """The address of the WebSocket beside that of REST."""
    return f"ws{url.removeprefix('http')}{PATH}"


class RunningSandbox:
    """A sandbox that runs in a thread while the ``with`` block does.

    Everything can be reached in-process: ``url``, ``ws_url``, ``truth``,
    ``faults``, ``clock``, ``log``, ``exchange``, ``sockets``. ``limiter`` is a
    mode or a limiter with its own clock; ``limits`` are the sockets'.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        limiter: LimiterMode | WeightLimiter = LimiterMode.BUCKET,
        faults: FaultPlan | None = None,
        manners: Manners | None = None,
        limits: SocketLimits | None = None,
        instant: bool = False,
        port: int = 0,
    ) -> None:
        judge = limiter if isinstance(limiter, WeightLimiter) else WeightLimiter(LimiterMode(limiter))
        self.world = world or World()
        self.exchange = Exchange(self.world, manners=manners, limiter=judge, faults=faults, instant=instant)
        self.sockets = Hub(self.exchange, limits)
        self.url = ""
        self._port = port

    @property
    def ws_url(self) -> str:
        """Where its WebSocket is."""
        return socket_url_of(self.url)

    @property
    def truth(self) -> Truth:
        """What the answers must add up to."""
        return self.world.truth

    @property
    def clock(self) -> Clock:
        """The world's clock."""
        return self.world.clock

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong; may be changed at any time."""
        return self.exchange.faults

    @property
    def log(self) -> RequestLog:
        """What has been asked."""
        return self.exchange.log

    def __enter__(self) -> Self:
        self._listener = listen(self._port)
        self.url = url_of(self._listener)
        self._server = make_server(self.sockets)
        # connections made before the server accepts wait in the socket's backlog
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._listener.close()
        if self._thread.is_alive():
            raise RuntimeError("the sandbox did not stop within 10 s: a request of its client is still running")
