"""A WebSocket server that says what a test tells it to, and a sink that keeps what a socket brings."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from hl_pipeline.source.frames import CandleFrame, Frame

#: How long a test waits for what must come.
PATIENCE = 60.0
#: What a server says to a client's message.
Script = Callable[[dict[str, Any]], list[str]]


def acknowledge(message: dict[str, Any]) -> list[str]:
    """Yes to every subscription, a pong to a ping."""
    if message["method"] == "ping":
        return ['{"channel":"pong"}']
    return [json.dumps({"channel": "subscriptionResponse", "data": message})]


def candle_text(open_ms: int, coin: str = "BTC", *, trades: int = 7, price: str = "100.5") -> str:
    """A 1m candle's frame."""
    row = {"t": open_ms, "T": open_ms + 59_999, "s": coin, "i": "1m", "v": "2.5", "n": trades}
    return json.dumps({"channel": "candle", "data": {**row, **dict.fromkeys("ohlc", price)}})


class Talker:
    """A server on loopback for the length of a ``with`` block. ``heard`` are the clients' messages."""

    def __init__(self, script: Script = acknowledge) -> None:
        self.script = script
        self.heard: list[dict[str, Any]] = []
        self._connections: list[ServerConnection] = []

    def __enter__(self) -> Self:
        self._server: Server = serve(self._talk, "127.0.0.1", 0, max_size=None, close_timeout=1)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/ws"
        self._thread = threading.Thread(target=self._server.serve_forever, name="talker", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        for connection in self._connections:
            connection.close()
        self._thread.join(timeout=PATIENCE)

    def say(self, *texts: str) -> None:
        """To everybody who listens."""
        for connection in list(self._connections):
            with suppress(ConnectionClosed):
                for text in texts:
                    connection.send(text)

    def _talk(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        with suppress(ConnectionClosed):
            for text in connection:
                message = json.loads(text)
                self.heard.append(message)
                for answer in self.script(message):
                    connection.send(answer)
        self._connections.remove(connection)


class Sink:
    """Keeps what a socket says; ``until`` waits for it."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.connected: list[int] = []
        self.broken: list[int] = []
        self._news = asyncio.Event()

    def on_frame(self, socket: int, frame: Frame, now_ms: int) -> None:
        self.frames.append(frame)
        self._news.set()

    def on_connected(self, socket: int, now_ms: int) -> None:
        self.connected.append(now_ms)
        self._news.set()

    def on_broken(self, socket: int, now_ms: int) -> None:
        self.broken.append(now_ms)
        self._news.set()

    def coins(self, since: int = 0) -> set[str]:
        """The markets whose candles came, from the frame numbered ``since`` on."""
        return {frame.coin for frame in self.frames[since:] if isinstance(frame, CandleFrame)}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at whenever the socket said something."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.05)


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something holds that nobody reports."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
