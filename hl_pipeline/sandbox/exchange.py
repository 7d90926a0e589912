"""One request in, one answer out: reads the body, asks the limiter, meets the faults, answers, notes it all."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.market import MarketKind
from hl_pipeline.model.tariff import request_weight
from hl_pipeline.sandbox import corrupt, describe
from hl_pipeline.sandbox.faults import Decision, Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.funding import funding_history
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.request_log import LoggedRequest, RequestLog
from hl_pipeline.sandbox.snapshot import Ask, candle_snapshot, true_row
from hl_pipeline.sandbox.wire import Encoder, Row
from hl_pipeline.sandbox.world import STEPS_MS, Manners, World

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html"
_KEPT_DESCRIPTIONS = 64
_GATEWAY_PAGE = b"<html>\r\n<head><title>%s</title></head>\r\n<body><center><h1>%s</h1></center></body>\r\n</html>\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: ``latency_ms`` before it, ``drip_ms`` between pieces if not 0, ``cut`` if it breaks off."""

    status: int
    body: bytes
    content_type: str = JSON
    rows: int = 0
    latency_ms: int = 0
    drip_ms: int = 0
    cut: bool = False
    retry_after: str = ""


NULL_500 = Answer(500, b"null")
NULL_429 = Answer(429, b"null")
MALFORMED = Answer(422, b"Failed to deserialize the JSON body into the target type", TEXT)


class CandleReq(msgspec.Struct):
    """The inner object of candleSnapshot."""

    coin: str
    interval: str
    startTime: int  # noqa: N815
    endTime: int | None = None  # noqa: N815


class InfoRequest(msgspec.Struct):
    """The body of any info request; fields a type does not need are left alone."""

    type: str
    req: CandleReq | None = None
    dex: str | None = None
    coin: str | None = None
    startTime: int | None = None  # noqa: N815 - the wire's own spelling
    endTime: int | None = None  # noqa: N815


_read_body = msgspec.json.Decoder(InfoRequest)


class Exchange:
    """A Hyperliquid of one world. All methods may be called from any thread.

    ``instant`` keeps answers to candle requests while a manual clock stands
    still, for benches that measure a client and not this server.
    """

    def __init__(
        self,
        world: World,
        *,
        manners: Manners | None = None,
        limiter: WeightLimiter | None = None,
        faults: FaultPlan | None = None,
        instant: bool = False,
    ) -> None:
        self.world = world
        self.manners = manners or Manners()
        self.limiter = limiter or WeightLimiter(LimiterMode.BUCKET)
        self.faults = faults or FaultPlan(world.seed)
        self.log = RequestLog()
        self.encoder = Encoder(world.truth)
        self._numbers = itertools.count(1)
        self._described: dict[tuple[str, str, int], Answer] = {}
        self._instant: dict[tuple[int, Manners, Ask], Answer] = {}
        self._keeps_answers = instant and isinstance(world.clock, ManualClock)
        self._lock = threading.Lock()

    def prewarm(self, coins: list[str], intervals: list[str]) -> int:
        """Encode the newest 5000 candles of these series ahead of requests; how many rows that is."""
        now = self.world.clock.now_ms()
        manners = self.manners
        asks = [Ask(coin, interval, 0, now) for coin in coins for interval in intervals]
        return sum(candle_snapshot(self.world, self.encoder, manners, ask, now)[1] for ask in asks)

    def answer(self, body: bytes, client: str = "local") -> Answer:
        """The exchange's answer to a POST /info."""
        at_ms, now_ms = self.limiter.clock.now_ms(), self.world.clock.now_ms()
        request, ask = _parse(body)
        kind = request.type if request else ""
        coin = ask.coin if ask else (request.coin or "" if request else "")
        interval = ask.interval if ask else ""
        weight = request_weight(kind)
        if not self.limiter.admit(client, weight):
            answer, decision, weight = NULL_429, Decision(), 0
        else:
            decision = self.faults.decide(kind, coin, interval, now_ms)
            answer = self._meet(decision, partial(self._handle, request, ask, decision), now_ms - decision.stale_ms)
            weight = 0 if answer.status == 429 else request_weight(kind, answer.rows)
            self.limiter.charge(client, weight - request_weight(kind))
        start, end = (ask.start_ms, ask.end_ms) if ask else (None, None)
        self.log.add(
            LoggedRequest(
                next(self._numbers), at_ms, now_ms, client, kind, coin, interval, start, end,
                answer.status, answer.rows, weight, decision.names,
            )
        )  # fmt: skip
        return answer

    def _meet(self, decision: Decision, handle: Callable[[int], Answer], now_ms: int) -> Answer:
        """The right answer, or what the decision makes of it."""
        fault = decision.whole
        if fault is None:
            answer = handle(now_ms)
        elif fault.kind in _INSTEAD:
            answer = replace(_INSTEAD[fault.kind], retry_after=fault.retry_after)
        else:
            answer = _damaged(handle(now_ms), fault)
        return replace(answer, latency_ms=decision.latency_ms) if decision.latency_ms else answer

    def _handle(self, request: InfoRequest | None, ask: Ask | None, decision: Decision, now_ms: int) -> Answer:
        if request is None:
            return MALFORMED
        if ask is not None:
            return self._candles(ask, decision, now_ms)
        if request.type == "fundingHistory":
            return self._funding(request, now_ms)
        if request.type == "exchangeStatus":
            return Answer(200, msgspec.json.encode({"time": now_ms, "specialStatuses": None}))
        if request.type in _DESCRIPTIONS:
            return self.described(request.type, request.dex or "", now_ms)
        return MALFORMED

    def _candles(self, ask: Ask, decision: Decision, now_ms: int) -> Answer:
        if self.world.find(ask.coin, now_ms) is None:
            return NULL_500
        if decision.candles:

            def edit(rows: list[Row]) -> list[Row]:
                return corrupt.apply(decision.candles, rows, now_ms, partial(true_row, self.world, ask))

            body, count = candle_snapshot(self.world, self.encoder, self.manners, ask, now_ms, edit)
            return Answer(200, body, rows=count)
        key = (now_ms, self.manners, ask)
        if self._keeps_answers and key in self._instant:
            return self._instant[key]
        body, count = candle_snapshot(self.world, self.encoder, self.manners, ask, now_ms)
        answer = Answer(200, body, rows=count)
        if self._keeps_answers:
            self._instant[key] = answer
        return answer

    def _funding(self, request: InfoRequest, now_ms: int) -> Answer:
        if request.coin is None or request.startTime is None or request.startTime < 0:
            return MALFORMED
        market = self.world.find(request.coin, now_ms)
        if market is None:
            return NULL_500
        end = now_ms if request.endTime is None else request.endTime
        perp = market.kind is not MarketKind.SPOT
        rows = funding_history(self.world, market, request.startTime, end, now_ms) if perp else []
        return Answer(200, msgspec.json.encode(rows), rows=len(rows))

    def described(self, kind: str, dex: str, now_ms: int) -> Answer:
        """Descriptions change by the minute and are kept that long."""
        if dex and dex not in describe.dexes(self.world, now_ms):
            return NULL_500
        key = (kind, dex, now_ms // MINUTE_MS)
        with self._lock:
            if key not in self._described:
                if len(self._described) >= _KEPT_DESCRIPTIONS:
                    self._described.clear()
                told = _DESCRIPTIONS[kind](self.world, dex, now_ms - now_ms % MINUTE_MS)
                self._described[key] = Answer(200, msgspec.json.encode(told))
            return self._described[key]


_DESCRIPTIONS: dict[str, Callable[[World, str, int], Any]] = {
    "meta": describe.meta,
    "metaAndAssetCtxs": describe.meta_and_contexts,
    "allPerpMetas": lambda world, _, now: [describe.meta(world, d, now) for d in ("", *describe.dexes(world, now))],
    "perpDexs": lambda world, _, now: describe.perp_dexs(world, now),
    "spotMeta": lambda world, _, now: describe.spot_meta(world, now),
    "spotMetaAndAssetCtxs": lambda world, _, now: describe.spot_meta_and_contexts(world, now),
    "allMids": describe.all_mids,
}

_INSTEAD = {
    FaultKind.RATE_LIMITED: NULL_429,
    FaultKind.SERVER_ERROR: NULL_500,
    FaultKind.BAD_GATEWAY: Answer(502, _GATEWAY_PAGE % ((b"502 Bad Gateway",) * 2), HTML),
    FaultKind.UNAVAILABLE: Answer(503, _GATEWAY_PAGE % ((b"503 Service Temporarily Unavailable",) * 2), HTML),
    FaultKind.HTML: Answer(200, _GATEWAY_PAGE % ((b"Welcome",) * 2), HTML),
    FaultKind.NULL: Answer(200, b"null"),
    FaultKind.OBJECT: Answer(200, b"{}"),
    FaultKind.EMPTY: Answer(200, b"[]"),
}


def _damaged(answer: Answer, fault: Fault) -> Answer:
    """A right answer that arrives badly."""
    if fault.kind is FaultKind.CUT:
        return replace(answer, cut=True)
    if fault.kind is FaultKind.DRIP:
        return replace(answer, drip_ms=max(1, fault.amount))
    return replace(answer, body=answer.body[: len(answer.body) * 2 // 3])


def _parse(body: bytes) -> tuple[InfoRequest | None, Ask | None]:
    """The request and, for candles, what it asks; ``None`` for a body the exchange would refuse to read."""
    try:
        request = _read_body.decode(body)
        if request.type != "candleSnapshot":
            return request, None
    except msgspec.DecodeError:  # ValidationError is one too
        return None, None
    req = request.req
    if req is None:
        return None, None
    # without an end the window runs to now; every later instant means the same
    end = 2**62 if req.endTime is None else req.endTime
    if req.interval not in STEPS_MS or req.startTime < 0 or end < 0:
        return None, None
    return request, Ask(req.coin, req.interval, req.startTime, end)
