"""The WebSocket face of the sandbox: one ASGI connection at a time, and the protocol beneath it.

The protocol sends no pings of its own, as none were seen of the exchange, and
compresses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from hl_pipeline.sandbox.connection import ABNORMAL, Connection, Goodbye
from hl_pipeline.sandbox.dialogue import answer
from hl_pipeline.sandbox.hub import Hub

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PATH = "/ws"
#: Under this name the scope's state carries the TCP connection, so that a fault can reset it.
_TRANSPORT = "sandbox.transport"


class SandboxProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, with the TCP connection within the application's reach."""

    def handle_connect(self, event: Request) -> None:
        """Begin a handshake; see ``WebSocketsSansIOProtocol``."""
        self.app_state = {**self.app_state, _TRANSPORT: self.transport}
        super().handle_connect(event)


async def serve_socket(hub: Hub, scope: Message, client: str, receive: Receive, send: Send) -> None:
    """Refuse a handshake, or accept it and talk until either side ends."""
    await receive()
    status = hub.refusal(client) if scope["path"] == PATH else 404
    if status is not None:
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"null" if status == 429 else b""})
        return
    await send({"type": "websocket.accept"})
    connection = hub.open(client, scope["state"][_TRANSPORT])
    code, reason = ABNORMAL, ""
    pump = asyncio.get_running_loop().create_task(_pump(connection, send), name="sandbox pump")
    posts: set[asyncio.Task[None]] = set()
    try:
        hub.greet(connection)
        while (message := await receive())["type"] == "websocket.receive":
            if connection.ending is None:
                text = message.get("text")
                late = answer(hub, connection, message["bytes"].decode("utf-8", "replace") if text is None else text)
                if late is not None:
                    posts.add(late)
                    late.add_done_callback(posts.discard)
        code, reason = message.get("code") or ABNORMAL, message.get("reason") or ""
    finally:
        hub.closed(connection, code, reason)
        for task in (pump, *posts):
            task.cancel()


async def _pump(connection: Connection, send: Send) -> None:
    """Send what is queued, in order, until a goodbye. A socket that cannot be sent to is ended."""
    try:
        while True:
            item = await connection.outbox.get()
            if isinstance(item, Goodbye):
                await send({"type": "websocket.close", "code": item.code, "reason": item.reason})
                return
            await send({"type": "websocket.send", "text" if isinstance(item, str) else "bytes": item})
    except OSError:
        return  # the client is gone; the reader hears of it too
    except Exception:
        connection.drop("could not be sent")
        raise
