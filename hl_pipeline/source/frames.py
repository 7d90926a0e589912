"""The stream's frames, decoded and judged one by one (hyperliquid.md section 5).

Nothing a frame says can end the stream: what cannot be read is refused with its rule.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.market import MarketContext
from hl_pipeline.model.redact import redact
from hl_pipeline.source.candles import decode_live_candle
from hl_pipeline.source.markets import decode_live_context
from hl_pipeline.source.wire import reject


class Subscription(NamedTuple):
    """What may be subscribed to: ``candle`` (1m) or ``activeAssetCtx`` of a market, or ``allMids`` without one."""

    channel: Literal["candle", "activeAssetCtx", "allMids"]
    coin: str = ""

    def as_json(self, method: Literal["subscribe", "unsubscribe"]) -> bytes:
        """The message that asks for it, or for its end."""
        wanted: dict[str, str] = {"type": self.channel}
        if self.coin:
            wanted["coin"] = self.coin
        if self.channel == "candle":
            wanted["interval"] = Interval.M1.value
        return msgspec.json.encode({"method": method, "subscription": wanted})


class CandleFrame(NamedTuple):
    """A market's 1m candle as it stands."""

    coin: str
    candle: Candle


class ContextFrame(NamedTuple):
    """What the exchange quotes for a market."""

    context: MarketContext


class Confirmed(NamedTuple):
    """The exchange accepted a subscription."""

    subscription: Subscription


class Complaint(NamedTuple):
    """The exchange refused a message; ``text`` is its own."""

    text: str


class Pong(NamedTuple):
    """The answer to our ping."""


class Unused(NamedTuple):
    """A frame that is sound and that we have no use for: it shows that the socket lives."""

    channel: str


Frame = CandleFrame | ContextFrame | Confirmed | Complaint | Pong | Unused | RejectedRow


class _Envelope(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Context(msgspec.Struct):
    coin: str
    ctx: msgspec.Raw


class _Ack(msgspec.Struct):
    method: str
    subscription: dict[str, Any]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_CONTEXT = msgspec.json.Decoder(_Context)
_ACK = msgspec.json.Decoder(_Ack)
_TEXT = msgspec.json.Decoder(str)
_SHAPE = "a frame has its documented fields and types"


def decode_frame(message: str | bytes) -> Frame:
    """What one message of the exchange says. Text that is no JSON object is refused (old builds greet with one)."""
    body = message.encode("utf-8", "replace") if isinstance(message, str) else message
    try:
        envelope = _ENVELOPE.decode(body)
        return _decode(envelope, bytes(envelope.data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return reject(0, f"{_SHAPE}: {error}", redact(body[:320].decode("utf-8", "replace"))[:80], body)


def _decode(envelope: _Envelope, data: bytes) -> Frame:
    match envelope.channel:
        case "candle":
            return _candle(data)
        case "activeAssetCtx" | "activeSpotAssetCtx":
            quoted = _CONTEXT.decode(data)
            context = decode_live_context(bytes(quoted.ctx), quoted.coin)
            return ContextFrame(context) if isinstance(context, MarketContext) else context
        case "subscriptionResponse":
            return _confirmed(_ACK.decode(data))
        case "error":
            return Complaint(_TEXT.decode(data))
        case "pong":
            return Pong()
        case other:
            return Unused(other[:40])


def _candle(data: bytes) -> Frame:
    found = decode_live_candle(data)
    if isinstance(found, RejectedRow):
        return found
    series, candle = found
    if series.interval is not Interval.M1:
        return Unused(f"candle {series.interval}")
    return CandleFrame(series.coin, candle)


def _confirmed(ack: _Ack) -> Frame:
    """The echo is normalised: other key order, null fields added; so only what we sent is compared."""
    said = ack.subscription
    channel = said.get("type")
    if ack.method != "subscribe" or channel not in ("candle", "activeAssetCtx", "allMids"):
        return Unused("subscriptionResponse")
    return Confirmed(Subscription(channel, str(said.get("coin") or "")))
