from __future__ import annotations

import json

import pytest

from hl_pipeline.sandbox.subscriptions import (
    Malformed,
    Ping,
    Post,
    Subscribe,
    Topic,
    acknowledgement,
    answered,
    error,
    read,
)


def said(method: str, **wish: object) -> str:
    return json.dumps({"method": method, "subscription": wish})


def test_an_acknowledgement_has_the_exchange_s_own_key_order() -> None:
    message = read(said("subscribe", type="candle", coin="BTC", interval="1m"))
    assert isinstance(message, Subscribe)
    assert message.topic == Topic("candle", "BTC", "1m")
    assert acknowledgement(message) == (
        '{"channel":"subscriptionResponse","data":{"method":"subscribe",'
        '"subscription":{"type":"candle","interval":"1m","coin":"BTC"}}}'
    )


@pytest.mark.parametrize(
    ("wish", "echo"),
    [
        ({"type": "allMids"}, {"type": "allMids", "dex": None}),
        ({"type": "allMids", "dex": "xyz"}, {"type": "allMids", "dex": "xyz"}),
        ({"coin": "BTC", "type": "trades", "more": 1}, {"type": "trades", "coin": "BTC"}),
        ({"type": "l2Book", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None}),
    ],
)
def test_an_echo_is_normalised(wish: dict[str, object], echo: dict[str, object]) -> None:
    message = read(said("unsubscribe", **wish))
    assert isinstance(message, Subscribe)
    assert not message.wanted
    assert json.loads(message.echo) == echo
    assert list(json.loads(message.echo)) == list(echo)


def test_a_ping_and_a_post_are_understood() -> None:
    assert read('{"method":"ping"}') == Ping()
    post = read('{"method":"post","id":7,"request":{"type":"info","payload":{"type":"meta"}}}')
    assert post == Post(7, "meta", b'{"type":"meta"}')


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "[]",
        "{}",
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":[]}',
        '{"method":"shout"}',
        '{"method":"subscribe","subscription":{"type":"userEvents","user":"0x0"}}',
        '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC"}}',
        '{"method":"subscribe","subscription":{"type":"candle","coin":7,"interval":"1m"}}',
        '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":"7m"}}',
        '{"method":"subscribe","subscription":{"type":"allMids","dex":1}}',
        '{"method":"post","id":"1","request":{"type":"info","payload":{}}}',
        '{"method":"post","id":1,"request":{"type":"action","payload":{}}}',
    ],
)
def test_what_it_cannot_read_is_given_back_in_the_error(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(text)
    assert str(caught.value) == f"Error parsing JSON into valid websocket request: {text}"


def test_an_error_is_a_frame_of_its_own_channel() -> None:
    assert json.loads(error('no "such" thing')) == {"channel": "error", "data": 'no "such" thing'}


def test_a_post_is_answered_under_its_number() -> None:
    post = Post(3, "meta", b"{}")
    assert json.loads(answered(post, 200, b'{"a":1}')) == {
        "channel": "post",
        "data": {"id": 3, "response": {"type": "info", "payload": {"type": "meta", "data": {"a": 1}}}},
    }
    assert json.loads(answered(post, 429, b"null"))["data"]["response"] == {"type": "error", "payload": "429 null"}
