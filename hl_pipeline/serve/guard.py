"""The guard before Dagster's web interface: an ASGI layer that lets pass only what the interface's own pages send.

Dagster's server has no login and executes GraphQL mutations over GET, so that any page an operator opens could delete
a run with an image tag; being on loopback does not help against that. Here a request must name us as its host, come
from our own pages if a browser sent it, carry the password if there is one, and ask GraphQL by a JSON POST. What is
refused never reaches Dagster. ``/livez`` and ``/health`` are for probes: open to all, and nearly mute to strangers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hl_pipeline.serve.guesses import Guesses
from hl_pipeline.serve.queries import changes_something

#: Health as a probe sees it: HTTP status, what anybody may read, and what those may read who are let in.
Health = Callable[[], Awaitable[tuple[int, dict[str, Any], dict[str, Any]]]]

GRAPHQL = "/graphql"
LIVENESS = "/livez"
HEALTH = frozenset({"/health", "/healthz"})
#: Bodies are read before they are passed on where they must be judged.
MOST_BODY_BYTES = 1024 * 1024
#: Two of these in one request mean that somebody reads it differently from us.
_ONCE = ("host", "origin", "authorization", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_HARDENING = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_NO_FRAMES = "frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further: HTTP status, one sentence, headers that belong to it."""

    status: int
    reason: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is let pass.

    ``hosts`` are spelled as a Host header does, in lower case, with the port unless it is the scheme's own.
    ``password`` null asks for none. ``read_only`` refuses whatever would change something.
    """

    hosts: frozenset[str]
    password: str | None = field(default=None, repr=False)
    read_only: bool = False

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why this request or WebSocket is refused; null when it may pass. Looks at its head, not its body."""
        headers = Headers(scope=scope)
        return (
            self._malformed(scope, headers)
            or self._of_another_site(scope, headers)
            or self._without_password(headers)
            or (self._of_another_form(scope, headers) if scope["type"] == "http" else None)
        )

    def _malformed(self, scope: Scope, headers: Headers) -> Refusal | None:
        if not str(scope["path"]).isprintable():  # a route may match a path that ends in a line break
            return Refusal(400, "the path holds control characters")
        repeated = next((name for name in _ONCE if len(headers.getlist(name)) > 1), None)
        if repeated is not None:
            return Refusal(400, f"the header {repeated} is given more than once")
        if headers.get("host", "").lower() not in self.hosts:
            return Refusal(400, "this is not the host asked for; name the one it is reached by in HL_UI_NAMES")
        return None

    def _of_another_site(self, scope: Scope, headers: Headers) -> Refusal | None:
        origin, host = headers.get("origin"), headers["host"].lower()
        if origin is not None and origin.lower() not in {f"http://{host}", f"https://{host}"}:
            return Refusal(403, "a page of another origin asks")
        if headers.get("sec-fetch-site", "none") in {"none", "same-origin"} or _opens_a_page(scope, headers):
            return None
        return Refusal(403, "a page of another site asks")

    def _without_password(self, headers: Headers) -> Refusal | None:
        if self.password is None or _is_password(headers.get("authorization", ""), self.password):
            return None
        challenge = {"www-authenticate": 'Basic realm="hl_pipeline", charset="UTF-8"'}
        return Refusal(401, "the password is missing or wrong", challenge)

    def _of_another_form(self, scope: Scope, headers: Headers) -> Refusal | None:
        method, is_graphql = scope["method"], str(scope["path"]).rstrip("/") == GRAPHQL
        if method not in {"GET", "HEAD", "POST"}:
            return Refusal(405, f"{method} is not used here", {"allow": "GET, HEAD, POST"})
        if is_graphql and method != "POST" and scope["query_string"]:
            return Refusal(405, "GraphQL is asked by a JSON POST, never in a URL", {"allow": "POST"})
        if method == "POST" and is_graphql and _media_type(headers) != "application/json":
            return Refusal(415, "GraphQL is asked in application/json")
        if method == "POST" and self.read_only and not is_graphql:
            return Refusal(405, "this interface only shows", {"allow": "GET, HEAD"})
        return None


class Guard:
    """The layer around ``app``; ``health`` answers the readiness probe."""

    def __init__(self, app: ASGIApp, rules: Rules, health: Health) -> None:
        self._app = app
        self._rules = rules
        self._health = health
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one connection, and pass it on or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        send = _hardened(send)
        refusal = self._judged(scope)
        if scope["type"] == "websocket":
            await self._socket(refusal, scope, receive, send)
        elif scope["path"] == LIVENESS:
            await JSONResponse({"status": "alive"})(scope, receive, send)
        elif scope["path"] in HEALTH:
            status, for_anybody, for_guests = await self._health()
            body = for_anybody if refusal else for_guests
            await JSONResponse(body, status, {"cache-control": "no-store"})(scope, receive, send)
        elif refusal is not None:
            await _refuse(refusal, scope, receive, send)
        elif self._rules.read_only and scope["method"] == "POST":
            await self._show(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _judged(self, scope: Scope) -> Refusal | None:
        """The rules' refusal, unless the peer has guessed too many passwords to be told anything."""
        refusal = self._rules.refusal(scope)
        given = Headers(scope=scope).get("authorization")
        if self._rules.password is None or given is None or (refusal is not None and refusal.status == 400):
            return refusal
        peer = (scope.get("client") or ("",))[0]
        wait = self._guesses.wait(peer, given, is_right=refusal is None or refusal.status != 401)
        if wait is None:
            return refusal
        return Refusal(429, "too many wrong passwords", {"retry-after": str(math.ceil(wait))})

    async def _socket(self, refusal: Refusal | None, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason})

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a query on, with its body, unless it is one that changes something."""
        body = await _body(receive)
        refusal = _change_in(body)
        if refusal is None:
            await self._app(scope, _again(body or b"", receive), send)
        else:
            await _refuse(refusal, scope, receive, send)


def hosts_of(address: str, port: int, names: Iterable[str] = ()) -> frozenset[str]:
    """Every spelling of ours in a Host header: loopback's, the address we listen on, and ``names`` as they are."""
    own = {"127.0.0.1", "localhost", "[::1]", f"[{address}]" if ":" in address else address}
    spelled = {f"{host}:{port}" for host in own} | (own if port == 80 else set())
    return frozenset(name.lower() for name in (*spelled, *names))


def _opens_a_page(scope: Scope, headers: Headers) -> bool:
    """A person followed a link to us: it shows a page and changes nothing."""
    return (
        scope["type"] == "http"
        and scope["method"] in {"GET", "HEAD"}
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_password(authorization: str, password: str) -> bool:
    """Whether the header holds the password, in a time that does not tell how much of it is right."""
    scheme, _, token = authorization.partition(" ")
    try:
        given = base64.b64decode(token.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    known = hashlib.sha256(password.encode()).digest()
    return scheme.lower() == "basic" and hmac.compare_digest(hashlib.sha256(given).digest(), known)


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").split(";")[0].strip().lower()


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or null when it is larger than we read."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BODY_BYTES:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that hands out the body that was read already, then whatever follows."""
    read = False

    async def receiving() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _change_in(body: bytes | None) -> Refusal | None:
    if body is None:
        return Refusal(413, f"the body is larger than {MOST_BODY_BYTES} bytes")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(400, "the body is not JSON")
    text = asked.get("query") if isinstance(asked, dict) else None
    if not isinstance(text, str):
        return Refusal(400, "the body holds no GraphQL query")
    return Refusal(403, "this interface only shows") if changes_something(text) else None


def _hardened(send: Send) -> Send:
    """A ``send`` that adds what keeps a page out of frames and its answers to itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HARDENING)
            headers.append("content-security-policy", _NO_FRAMES)  # holds beside Dagster's own
        await send(message)

    return sending


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"refused: {refusal.reason}\n", refusal.status, refusal.headers)(scope, receive, send)
