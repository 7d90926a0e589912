"""What the exchange answers to a client's message on the WebSocket."""

from __future__ import annotations

import asyncio

from hl_pipeline.sandbox import subscriptions
from hl_pipeline.sandbox.connection import Connection
from hl_pipeline.sandbox.hub import Hub
from hl_pipeline.sandbox.subscriptions import SERVED, Malformed, Ping, Post, Subscribe
from hl_pipeline.sandbox.world import STEPS_MS

_POLICY = 1008


def answer(hub: Hub, connection: Connection, text: str) -> asyncio.Task[None] | None:
    """Answer one message; a task if that takes a while, to be kept until it is done."""
    now = hub.now_ms()
    connection.messages += 1
    if not hub.messages.admits(connection.client, hub.limits.messages_a_minute, now):
        connection.close(_POLICY, "Too many messages")
        return None
    try:
        message = subscriptions.read(text)
    except Malformed as error:
        connection.send(subscriptions.error(str(error)), now)
        return None
    match message:
        case Ping():
            connection.send(subscriptions.PONG, now)
        case Post():
            return _post(hub, connection, message)
        case Subscribe():
            _subscribe(hub, connection, message)
    return None


def _subscribe(hub: Hub, connection: Connection, message: Subscribe) -> None:
    now, topic = hub.now_ms(), message.topic
    trouble = _trouble(hub, connection, message, now)
    if trouble is not None:
        connection.send(subscriptions.error(trouble), now)
        return
    (hub.join if message.wanted else hub.leave)(connection, topic)
    for _ in range(hub.acknowledgements()):
        connection.send(subscriptions.acknowledgement(message), now)
    shown = hub.feed.snapshot(topic) if message.wanted and hub.exchange.manners.snapshot_on_subscribe else None
    if shown is not None:
        connection.send_data(topic, shown, now)


def _trouble(hub: Hub, connection: Connection, message: Subscribe, now_ms: int) -> str | None:
    """Why a subscription is refused, in the exchange's words, or none."""
    topic, limit = message.topic, hub.limits.subscriptions
    if not message.wanted:
        return None if topic in connection.topics else f"Already unsubscribed: {message.echo}"
    if topic in connection.topics:
        return f"Already subscribed: {message.echo}"
    if not _exists(hub, message, now_ms):
        return f"Invalid subscription {message.echo}"
    if limit is not None and hub.subscriptions_of(connection.client) >= limit:
        # the number is the exchange's, its words are not known
        return f"Cannot track more than {limit} total subscriptions."
    return None


def _exists(hub: Hub, message: Subscribe, now_ms: int) -> bool:
    topic, exchange = message.topic, hub.exchange
    if topic.channel not in SERVED:
        return False
    if topic.channel == "allMids":
        return exchange.described("allMids", topic.coin, now_ms).status == 200
    if topic.channel == "candle" and topic.interval not in STEPS_MS:
        return False
    return exchange.world.find(topic.coin, now_ms) is not None


def _post(hub: Hub, connection: Connection, post: Post) -> asyncio.Task[None] | None:
    """Serve an info request as POST /info would: same answers, same weight, same faults."""
    limit = hub.limits.posts_in_flight
    if limit is not None and connection.posts >= limit:
        connection.send(subscriptions.error(f"too many pending post requests id={post.number}"), hub.now_ms())
        return None
    given = hub.exchange.answer(post.payload, connection.client)
    if given.cut:
        return None
    text = subscriptions.answered(post, given.status, given.body)
    if not given.latency_ms:
        connection.send(text, hub.now_ms())
        return None

    async def later() -> None:
        try:
            await asyncio.sleep(given.latency_ms / 1000)
            connection.send(text, hub.now_ms())
        finally:
            connection.posts -= 1

    connection.posts += 1
    return asyncio.get_running_loop().create_task(later(), name="sandbox post")
