"""Whatever a message says, it is a frame that keeps every rule, or it is refused by name; nothing raises."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.mischief import Garbage, big_frame
from hl_pipeline.source.frames import (
    CandleFrame,
    Complaint,
    Confirmed,
    ContextFrame,
    Frame,
    Pong,
    Subscription,
    Unused,
    decode_frame,
)

START = 1_785_000_000_000 // MINUTE_MS * MINUTE_MS
CANDLE: dict[str, Any] = {
    "t": START, "T": START + MINUTE_MS - 1, "s": "BTC", "i": "1m",
    "o": "10.5", "c": "11.0", "h": "11.5", "l": "10.0", "v": "3.5", "n": 7,
}  # fmt: skip
CONTEXT: dict[str, Any] = {
    "funding": "0.0000125", "openInterest": "1882.55", "prevDayPx": "10.0", "dayNtlVlm": "1169046.29",
    "premium": "0.0001", "oraclePx": "10.7", "markPx": "10.6", "midPx": "10.6", "impactPxs": ["10.5", "10.7"],
    "dayBaseVlm": "1706.9",
}  # fmt: skip
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["NaN", "Infinity", "-1", "1e5", "1_0", "\uff11", "0" * 41, "\x00", "\ud800"])
)  # fmt: skip
JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def frame(channel: str, data: object) -> Frame:
    return decode_frame(json.dumps({"channel": channel, "data": data}))


def holds_every_rule(found: CandleFrame) -> bool:
    """Whether a candle is one that the tables may hold."""
    candle = found.candle
    o, h, low, c, v = (Decimal(text) for text in candle[1:6])
    return (
        candle.open_ms % MINUTE_MS == 0
        and all(number.is_finite() for number in (o, h, low, c, v))
        and 0 < low <= min(o, c) <= max(o, c) <= h
        and 0 <= candle.trades < 2**31
        and (v == 0 or candle.trades > 0)
    )


def test_a_candle_a_quote_a_yes_a_no_and_a_pong_are_told_apart() -> None:
    candle = frame("candle", CANDLE)
    assert isinstance(candle, CandleFrame)
    assert (candle.coin, candle.candle.open_ms, candle.candle.close, candle.candle.trades) == ("BTC", START, "11.0", 7)
    quote = frame("activeAssetCtx", {"coin": "BTC", "ctx": CONTEXT})
    assert isinstance(quote, ContextFrame)
    assert (quote.context.coin, quote.context.mark_price) == ("BTC", "10.6")
    assert frame("error", "Already subscribed: {}") == Complaint("Already subscribed: {}")
    assert decode_frame('{"channel":"pong"}') == Pong()


@pytest.mark.parametrize(
    ("wanted", "echo"),
    [
        (Subscription("candle", "BTC"), {"interval": "1m", "type": "candle", "coin": "BTC"}),
        (Subscription("activeAssetCtx", "@107"), {"coin": "@107", "type": "activeAssetCtx"}),
        (Subscription("allMids"), {"type": "allMids", "dex": None}),
    ],
)
def test_an_acknowledgement_is_known_by_what_was_asked_in_any_order_and_with_nulls(
    wanted: Subscription, echo: dict[str, Any]
) -> None:
    said = json.loads(wanted.as_json("subscribe"))
    assert said["method"] == "subscribe"
    assert said["subscription"] == {name: value for name, value in echo.items() if value is not None}
    assert frame("subscriptionResponse", {"method": "subscribe", "subscription": echo}) == Confirmed(wanted)


def test_the_end_of_a_subscription_and_foreign_channels_are_of_no_use() -> None:
    echo = {"type": "candle", "coin": "BTC", "interval": "1m"}
    assert frame("subscriptionResponse", {"method": "unsubscribe", "subscription": echo}) == Unused(
        "subscriptionResponse"
    )
    assert frame("subscriptionResponse", {"method": "subscribe", "subscription": {"type": "trades"}}) == Unused(
        "subscriptionResponse"
    )
    assert frame("allMids", {"mids": {}}) == Unused("allMids")
    assert frame("notYetInvented", [1]) == Unused("notYetInvented")
    assert frame(
        "candle", {**CANDLE, "i": "5m", "t": START - START % 300_000, "T": START - START % 300_000 + 299_999}
    ) == (Unused("candle 5m"))


@pytest.mark.parametrize(
    "change",
    [
        {"c": "NaN"}, {"h": "Infinity"}, {"o": "1e3"}, {"o": "1_0"}, {"o": "\uff11"}, {"l": "0"}, {"l": "-1.0"},
        {"h": "10.4"}, {"l": "10.6"}, {"v": "-1"}, {"v": ""}, {"c": 11.0}, {"n": "7"}, {"n": -1}, {"n": 2**31},
        {"n": 0}, {"n": None}, {"t": START + 1}, {"T": START + MINUTE_MS}, {"t": "soon"}, {"t": -MINUTE_MS},
        {"t": 10**18, "T": 10**18 + MINUTE_MS - 1}, {"i": "7m"}, {"i": "5m"}, {"s": 5},
    ],
)  # fmt: skip
def test_a_candle_that_breaks_a_rule_is_refused(change: dict[str, Any]) -> None:
    assert isinstance(frame("candle", {**CANDLE, **change}), RejectedRow)


@pytest.mark.parametrize("name", sorted(CANDLE))
def test_a_candle_without_a_field_is_refused(name: str) -> None:
    assert isinstance(frame("candle", {key: value for key, value in CANDLE.items() if key != name}), RejectedRow)


@pytest.mark.parametrize(
    "message",
    [
        "", "Websocket connection established.", "null", "[]", "[1]", "5", '"candle"', "{}", '{"data":{}}',
        '{"channel":5}', '{"channel":"candle"}', '{"channel":"candle","data":', '{"channel":"candle","data":NaN}',
        '{"channel":"error","data":{}}', '{"channel":"subscriptionResponse","data":{"method":1}}',
        '{"channel":"activeAssetCtx","data":{"coin":"BTC"}}', "[" * 100_000, '{"channel":"x","data":' + "[" * 100_000,
        b"\xff\xfe", b'{"channel":"\xff","data":1}', "\U0001f680",
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused_with_a_bounded_text(message: str | bytes) -> None:
    found = decode_frame(message)
    assert isinstance(found, RejectedRow)
    assert len(found.rule) + len(found.value) < 700


def test_a_frame_of_four_megabytes_is_bounded_too() -> None:
    assert decode_frame(big_frame(4_000_000)) == Unused("big")
    found = frame("candle", {**CANDLE, "c": "1" * 4_000_000})
    assert isinstance(found, RejectedRow)
    assert len(found.rule) + len(found.value) + len(found.payload) < 5_000


def test_none_of_the_sandboxs_lies_is_believed() -> None:
    honest = json.dumps({"channel": "candle", "data": CANDLE})
    lies = Garbage()
    told = [lies.next(honest) for _ in range(42)]
    believed = [decode_frame(text) for text in told if isinstance(text, str)]
    # a market that does not exist: whoever knows the markets refuses it; honest text in a binary frame is no lie
    assert {found.coin for found in believed if isinstance(found, CandleFrame)} <= {"NOSUCHCOIN"}


@given(st.binary(max_size=300) | st.text(max_size=300))
@example(b"\x00")
@example("\ud800")
def test_no_bytes_and_no_text_raise(message: str | bytes) -> None:
    assert decode_frame(message) is not None


@given(st.sampled_from(["candle", "activeAssetCtx", "subscriptionResponse", "error", "pong", "allMids"]), JSON)
def test_no_json_raises_in_any_channel(channel: str, data: object) -> None:
    assert not isinstance(frame(channel, data), CandleFrame)


@given(st.dictionaries(st.sampled_from(sorted(CANDLE)), JSON | st.sampled_from(["0", "9.5", "12", "1.0"]), max_size=4))
def test_a_candle_is_refused_or_holds_every_rule(changes: dict[str, Any]) -> None:
    found = frame("candle", {**CANDLE, **changes})
    assert isinstance(found, RejectedRow | Unused) or (isinstance(found, CandleFrame) and holds_every_rule(found))


@given(st.dictionaries(st.sampled_from(sorted(CONTEXT)), JSON, max_size=4), JSON)
def test_a_quote_with_anything_in_it_never_raises(changes: dict[str, Any], coin: object) -> None:
    found = frame("activeAssetCtx", {"coin": coin, "ctx": {**CONTEXT, **changes}})
    assert isinstance(found, RejectedRow | ContextFrame)
