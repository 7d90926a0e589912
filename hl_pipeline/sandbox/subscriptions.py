"""What a client may say on the WebSocket, and the words it is answered with (hyperliquid.md section 5).

No sockets here: text in, a message or an error text out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from hl_pipeline.sandbox.world import STEPS_MS

PONG = '{"channel":"pong"}'
GREETING = "Websocket connection established."
_Field = tuple[str, type[str] | type[int], bool]
_COIN: _Field = ("coin", str, True)
#: The fields of a subscription besides its type, in the acknowledgement's order: name, type, whether it must be there.
_FIELDS: dict[str, tuple[_Field, ...]] = {
    "candle": (("interval", str, True), _COIN),
    "trades": (_COIN,),
    "activeAssetCtx": (_COIN,),
    "allMids": (("dex", str, False),),
    "bbo": (_COIN,),
    "l2Book": (_COIN, ("nSigFigs", int, False), ("mantissa", int, False)),
}
#: What this exchange has; the others of ``_FIELDS`` are known but refused.
SERVED = frozenset({"candle", "trades", "activeAssetCtx", "allMids"})
_INTERVALS = frozenset({*STEPS_MS, "3d", "1w", "1M"})


class Topic(NamedTuple):
    """What can be subscribed to; ``coin`` is the dex for ``allMids``, ``interval`` is empty but for candles."""

    channel: str
    coin: str
    interval: str = ""


class Ping(NamedTuple):
    """The client's own heartbeat."""


class Subscribe(NamedTuple):
    """A wish for a topic, or with ``wanted`` false for its end; ``echo`` is its normalised JSON."""

    wanted: bool
    topic: Topic
    echo: str


class Post(NamedTuple):
    """An info request over the socket; ``payload`` is the body that POST /info would have."""

    number: int
    kind: str
    payload: bytes


class Malformed(ValueError):
    """A message the exchange cannot read; the text is its answer."""


def read(text: str) -> Ping | Subscribe | Post:
    """What a client's message asks for.

    Raises:
        Malformed: not JSON, or of a shape or a type the exchange does not know.
    """
    try:
        message = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Malformed(parse_error(text)) from None
    match message:
        case {"method": "ping"}:
            return Ping()
        case {"method": "subscribe" | "unsubscribe" as method, "subscription": {"type": str() as kind} as wish}:
            normalised = _normalised(kind, wish)
            if normalised is not None:
                topic = Topic(
                    kind, normalised.get("coin") or normalised.get("dex") or "", normalised.get("interval", "")
                )
                return Subscribe(method == "subscribe", topic, _json(normalised))
        case {"method": "post", "id": int() as number, "request": {"type": "info", "payload": dict() as payload}}:
            return Post(number, str(payload.get("type", "")), msgspec.json.encode(payload))
    raise Malformed(parse_error(text))


def _normalised(kind: str, wish: dict[str, Any]) -> dict[str, Any] | None:
    """The subscription as the exchange echoes it: its own key order, nulls for what was left out."""
    if kind not in _FIELDS:
        return None
    normalised: dict[str, Any] = {"type": kind}
    for name, form, needed in _FIELDS[kind]:
        value = wish.get(name)
        if not isinstance(value, form) and (needed or value is not None):
            return None
        normalised[name] = value
    if kind == "candle" and normalised["interval"] not in _INTERVALS:
        return None
    return normalised


def acknowledgement(message: Subscribe) -> str:
    """The exchange's yes."""
    method = "subscribe" if message.wanted else "unsubscribe"
    return f'{{"channel":"subscriptionResponse","data":{{"method":"{method}","subscription":{message.echo}}}}}'


def error(text: str) -> str:
    """The exchange's no."""
    return f'{{"channel":"error","data":{_json(text)}}}'


def parse_error(text: str) -> str:
    """For what is no request at all."""
    return f"Error parsing JSON into valid websocket request: {text}"


def answered(post: Post, status: int, body: bytes) -> str:
    """An info answer over the socket. How the exchange words an error there is not known; the status comes first."""
    if status == 200:
        inner = f'"type":"info","payload":{{"type":{_json(post.kind)},"data":{body.decode()}}}'
    else:
        inner = f'"type":"error","payload":{_json(f"{status} {body.decode()}")}'
    return f'{{"channel":"post","data":{{"id":{post.number},"response":{{{inner}}}}}}}'


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
