"""What the exchange has to tell, in the order in which it happens: candles, trades, contexts, mids.

The feed knows topics and market time, and no sockets. It is built for many
markets: what happens next is in one heap, and a frame is written once however
many listen.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.market import MarketKind
from hl_pipeline.sandbox import describe
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.noise import stream_key
from hl_pipeline.sandbox.subscriptions import Topic
from hl_pipeline.sandbox.tape import Tape


class Frame(NamedTuple):
    """One message about a topic, as it goes over the wire; ``at_ms`` is when it happened."""

    at_ms: int
    topic: Topic
    text: str


class _Market:
    """A market that somebody listens to: its tape, and to which topics of it."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.topics: Counter[Topic] = Counter()


class Feed:
    """The frames of one exchange for the topics that are watched. Not to be shared by threads."""

    def __init__(self, exchange: Exchange, seen_ms: int) -> None:
        self.seen_ms = seen_ms
        self._exchange = exchange
        self._markets: dict[str, _Market] = {}
        self._quotes: Counter[Topic] = Counter()
        # entries of what is no longer awaited stay in the heap until their time comes
        self._due: list[tuple[int, Topic]] = []
        self._awaited: dict[Topic, int] = {}
        self._kept: dict[Topic, tuple[int, str]] = {}

    def watch(self, topic: Topic) -> None:
        """One listener more; frames begin with what happens after ``seen_ms``."""
        if topic.channel in ("candle", "trades"):
            if topic.coin not in self._markets:
                self._markets[topic.coin] = _Market(Tape(self._exchange.world.truth, topic.coin))
                self._stand(self._markets[topic.coin].tape)
            self._markets[topic.coin].topics[topic] += 1
        else:
            self._quotes[topic] += 1
            if self._quotes[topic] == 1:
                self._schedule_quote(topic, self.seen_ms)

    def unwatch(self, topic: Topic) -> None:
        """One listener less."""
        counts = self._markets[topic.coin].topics if topic.channel in ("candle", "trades") else self._quotes
        counts[topic] -= 1
        if counts[topic]:
            return
        del counts[topic]
        self._kept.pop(topic, None)
        if counts is self._quotes:
            del self._awaited[topic]
        elif not counts:
            del self._markets[topic.coin]
            del self._awaited[Topic("tape", topic.coin)]

    def snapshot(self, topic: Topic) -> str | None:
        """What a subscriber would be shown at once, if the exchange does that."""
        if topic.channel == "candle":
            return self._markets[topic.coin].tape.candle(topic.interval)
        return None if topic.channel == "trades" else self._quote(topic, self.seen_ms)

    def until(self, to_ms: int) -> Iterator[Frame]:
        """What happens in ``(seen_ms, to_ms]``, oldest first; of each topic and minute only the newest state."""
        while self.seen_ms < to_ms:
            self.seen_ms = min(to_ms, edge_after(self.seen_ms))
            yield from self._step(self.seen_ms)

    def skip(self, to_ms: int) -> None:
        """Go on from ``to_ms`` without telling what came before it."""
        self.seen_ms = to_ms
        for market in self._markets.values():
            self._stand(market.tape)
        for topic in self._quotes:
            self._schedule_quote(topic, to_ms)

    def _step(self, to_ms: int) -> Iterator[Frame]:
        """The frames up to ``to_ms``, which is in the same minute as all that is due."""
        while self._due and self._due[0][0] <= to_ms:
            due, topic = heapq.heappop(self._due)
            if self._awaited.get(topic) != due:
                continue
            if topic.channel != "tape":
                self._schedule_quote(topic, to_ms)
                yield Frame(due, topic, self._quote(topic, due))
                continue
            market = self._markets[topic.coin]
            if due == market.tape.open_ms + MINUTE_MS:
                market.tape.turn(due, self._exchange.manners)
                # its first millisecond may have a trade already
                self._schedule_tape(market.tape, due - 1)
            else:
                self._schedule_tape(market.tape, to_ms)
                yield from self._told(market, to_ms)

    def _told(self, market: _Market, to_ms: int) -> Iterator[Frame]:
        tape = market.tape
        moved = tape.advance(to_ms - tape.open_ms)
        for topic in list(market.topics):
            text = tape.trades() if topic.channel == "trades" else tape.candle(topic.interval) if moved else None
            if text is not None:
                yield Frame(to_ms, topic, text)

    def _stand(self, tape: Tape) -> None:
        """Put a tape to the present without telling how it came there."""
        tape.turn(self.seen_ms - self.seen_ms % MINUTE_MS, self._exchange.manners)
        tape.advance(self.seen_ms - tape.open_ms)
        self._schedule_tape(tape, self.seen_ms)

    def _schedule_tape(self, tape: Tape, after_ms: int) -> None:
        elapsed = tape.next_after(after_ms - tape.open_ms)
        self._await(Topic("tape", tape.coin), tape.open_ms + (MINUTE_MS if elapsed is None else elapsed))

    def _schedule_quote(self, topic: Topic, after_ms: int) -> None:
        gap = self._exchange.manners.quote_gap_ms
        # each topic at its own moment, so that they do not all come at once
        phase = stream_key("quote", *topic) % gap
        self._await(topic, (after_ms - phase) // gap * gap + gap + phase)

    def _await(self, topic: Topic, due_ms: int) -> None:
        self._awaited[topic] = due_ms
        heapq.heappush(self._due, (due_ms, topic))

    def _quote(self, topic: Topic, at_ms: int) -> str:
        """Contexts and mids change by the minute and are kept that long."""
        minute = at_ms - at_ms % MINUTE_MS
        kept = self._kept.get(topic)
        if kept is None or kept[0] != minute:
            made = self._mids(topic, minute) if topic.channel == "allMids" else self._context(topic, minute)
            kept = self._kept[topic] = (minute, made)
        return kept[1]

    def _mids(self, topic: Topic, minute_ms: int) -> str:
        mids = self._exchange.described("allMids", topic.coin, minute_ms).body.decode()
        dex = f',"dex":"{topic.coin}"' if topic.coin else ""
        return f'{{"channel":"allMids","data":{{"mids":{mids}{dex}}}}}'

    def _context(self, topic: Topic, minute_ms: int) -> str:
        world = self._exchange.world
        market = world.truth.markets[topic.coin]
        channel = "activeSpotAssetCtx" if market.kind is MarketKind.SPOT else "activeAssetCtx"
        data = {"coin": topic.coin, "ctx": describe.context(world, market, minute_ms)}
        return msgspec.json.encode({"channel": channel, "data": data}).decode()


def edge_after(at_ms: int) -> int:
    """The last millisecond of the minute that goes on after ``at_ms``."""
    return (at_ms + 1) // MINUTE_MS * MINUTE_MS + MINUTE_MS - 1
