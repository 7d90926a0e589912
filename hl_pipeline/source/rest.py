"""The exchange's info service over REST: reserve weight, ask, judge, decode, settle, and try again if that helps.

Everything that waits or repeats is here and nowhere above. One client serves a
process and all its threads. With several endpoints each attempt may go to
another one; which, is said in ``failover``.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

import httpx

from hl_pipeline.model.answer import CandleAnswer, CandleRequest, MarketsAnswer, Receipt, RejectedRow
from hl_pipeline.model.budget import CLAIM_REPEAT_SECONDS, Reservation, WeightBudget
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.endpoint import EndpointRegistry, Sighting
from hl_pipeline.model.failure import (
    BudgetExhausted,
    InvalidSetting,
    PipelineError,
    RateLimited,
    RequestRefused,
    TryAgain,
)
from hl_pipeline.model.halt import Halt, Halted
from hl_pipeline.model.interval import WINDOW_SLOTS
from hl_pipeline.model.market import FundingRate, Market, MarketContext
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS, request_weight
from hl_pipeline.source import candles as candle_answers
from hl_pipeline.source import markets as market_answers
from hl_pipeline.source.failover import VERDICT_SECONDS, BeingProbed, Route, Turn
from hl_pipeline.source.retry import Patience
from hl_pipeline.source.service import Ambiguous, InfoService, Misaddressed, Unserved

_LOG = logging.getLogger(__name__)
_OK = 200
#: A 500 on candles or funding may mean an unknown coin, which no repetition cures.
_ATTEMPTS_ON_AMBIGUOUS_500 = 2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stats:
    """What one client has done so far; ``weight`` is what it settled, ``errors`` counts failed requests."""

    requests: int = 0
    retries: int = 0
    status_429: int = 0
    errors: int = 0
    refusals: int = 0
    unsettled: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class _Question(Generic[_T]):
    """One request: what to send, the most rows it can return, how to decode, how many rows came."""

    payload: dict[str, Any]
    most_rows: int
    decode: Callable[[bytes], _T]
    rows: Callable[[_T], int]

    @property
    def kind(self) -> str:
        return str(self.payload["type"])

    @property
    def name(self) -> str:
        request = self.payload.get("req", self.payload)
        words = (self.kind, request.get("coin"), request.get("interval"), request.get("dex"))
        return " ".join(str(word) for word in words if word)


@dataclass(slots=True)
class _Call:
    """One call under way: until when it has patience, whom it tried, who answered 500, what that cost."""

    give_up_at: float
    tried: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    attempt: int = 1
    spent: int = 0
    refused: int = 0


class HyperliquidRest:
    """A client of the info service at ``endpoint_url``, or at any of several, the primary first.

    Every request reserves its weight in ``budget`` before it is sent, and
    settles what it cost. ``deadline_s`` bounds one request from connecting to
    the last byte, ``max_body_bytes`` bounds its answer, packed and unpacked;
    ``patience`` bounds repetition and waiting. ``registry`` keeps the endpoints'
    breakers; without one none ever rests. ``public_only`` refuses a host whose
    name leads to a private address. Once ``halt`` is wanted nothing more is
    sent, every wait ends with Halted, and weight is given back that no request
    went out for. ``client`` is for tests: the built-in one keeps the deadline
    at every socket read, follows no redirect and ignores proxy variables.

    All endpoints together share the one ``budget``: the exchange counts weight
    by the address that asks, whichever way it asks.
    """

    def __init__(
        self,
        endpoint_url: str | Sequence[str],
        *,
        budget: WeightBudget,
        registry: EndpointRegistry | None = None,
        public_only: bool = False,
        deadline_s: float = 15.0,
        max_body_bytes: int = 8_000_000,
        patience: Patience | None = None,
        client: httpx.Client | None = None,
        halt: Halt | None = None,
        sleep: Callable[[float], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._halt = halt or Halt()
        services = [
            InfoService(
                url,
                deadline_s=deadline_s,
                max_body_bytes=max_body_bytes,
                public_only=public_only,
                client=client,
                monotonic=monotonic,
                halt=self._halt,
            )
            for url in ([endpoint_url] if isinstance(endpoint_url, str) else endpoint_url)
        ]
        self._services = {service.url: service for service in services}
        self._route = Route([service.url for service in services], registry, monotonic)
        self._budget = budget
        self._patience = patience or Patience()
        self._sleep = sleep or self._halt.sleep
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._stats = Stats()
        self._quiet_until = 0.0

    @property
    def endpoint(self) -> str:
        """The primary's address, as it stands in receipts."""
        return self._route.urls[0]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every address that may be asked, the primary first; a receipt names the one that answered."""
        return self._route.urls

    @property
    def stats(self) -> Stats:
        """The counters at this moment."""
        with self._guard:
            return self._stats

    def close(self) -> None:
        """Close the kept connections."""
        for service in self._services.values():
            service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def candles(self, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        """The candles the exchange holds in the asked span, at most the newest 5000 of its series.

        Raises:
            RequestRefused: the exchange refuses the form of the request.
            ExchangeUnavailable: it cannot be reached, or answers 500, which may also mean an unknown coin.
            RateLimited, BadAnswer: still so after the last attempt.
            BudgetExhausted: our own budget stayed empty for longer than the patience.
            ValueError: the span is empty, negative or off the interval's grid.
        """
        (found, rejected, outside), receipt = self._ask(_candles_question(request), lane)
        return CandleAnswer(request, found, rejected, outside, receipt)

    def candles_of(self, endpoint: str, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        """What one of ``endpoints`` answers, asked once, whatever its breaker says.

        Raises:
            TryAgain, RequestRefused: as ``candles``, after this one attempt; the registry is not told.
            BudgetExhausted: no weight is left at this moment; nothing was sent.
        """
        (found, rejected, outside), receipt = self._ask_once(endpoint, _candles_question(request), lane)
        return CandleAnswer(request, found, rejected, outside, receipt)

    def markets(self, dexes: Iterable[str] = ("",), *, spot: bool = False, lane: str = "live") -> MarketsAnswer:
        """Markets and contexts of each perpetual dex (``""`` is the exchange's own), and of spot if asked.

        Raises:
            As ``candles``; the first failing dex fails the whole answer.
        """
        markets: list[Market] = []
        contexts: list[MarketContext] = []
        rejected: list[RejectedRow] = []
        receipts: list[Receipt] = []
        questions = [_markets_question(dex) for dex in dexes]
        if spot:
            payload = {"type": "spotMetaAndAssetCtxs"}
            questions.append(_Question(payload, 0, market_answers.decode_spot_meta_and_contexts, _no_rows))
        for question in questions:
            answer, receipt = self._ask(question, lane)
            markets += answer[0]
            contexts += answer[1]
            rejected += answer[2]
            receipts.append(receipt)
        return MarketsAnswer(markets, contexts, rejected, receipts)

    def exchange_time_ms(self, *, lane: str = "live") -> int:
        """The exchange's own clock, in milliseconds since the epoch, UTC."""
        return self._ask(_status_question(), lane)[0]

    def sight(self, endpoint: str, *, lane: str = "live") -> Sighting:
        """The clock of one of ``endpoints``, asked once, whatever its breaker says; weight 2.

        Raises:
            As ``candles_of``.
        """
        time_ms, receipt = self._ask_once(endpoint, _status_question(), lane)
        return Sighting(time_ms, receipt.latency_ms)

    def all_mids(self, dex: str = "", *, lane: str = "live") -> dict[str, str]:
        """Mid price by coin; spot stands with the exchange's own dex. Unreadable entries are logged and left out."""
        payload = {"type": "allMids", "dex": dex} if dex else {"type": "allMids"}
        mids, rejected = self._ask(_Question(payload, 0, market_answers.decode_all_mids, _no_rows), lane)[0]
        for row in rejected:
            _LOG.warning("allMids %s: entry %d refused, %s: %s", dex, row.position, row.rule, row.value)
        return mids

    def perp_dexs(self, *, lane: str = "live") -> tuple[str, ...]:
        """Names of the perpetual dexes, the exchange's own first, as ``""``."""
        return self._ask(_Question({"type": "perpDexs"}, 0, market_answers.decode_perp_dexs, _no_rows), lane)[0]

    def funding_history(
        self, coin: str, start_ms: int, end_ms: int, *, lane: str = "live"
    ) -> tuple[list[FundingRate], list[RejectedRow], Receipt]:
        """One page of funding in ``[start_ms, end_ms)``: the oldest 500 rates there, ascending.

        A full page means there may be more: ask again from the last time + 1.
        """
        if not 0 <= start_ms < end_ms:
            raise ValueError(f"funding of {coin}: the span {start_ms}..{end_ms} has to be positive")
        payload = {"type": "fundingHistory", "coin": coin, "startTime": start_ms, "endTime": end_ms - 1}
        (rates, rejected), receipt = self._ask(
            _Question(
                payload,
                FUNDING_PAGE_ROWS,
                lambda body: market_answers.decode_funding_history(body, coin),
                lambda answer: len(answer[0]) + len(answer[1]),
            ),
            lane,
        )
        return rates, rejected, receipt

    def _ask(self, question: _Question[_T], lane: str) -> tuple[_T, Receipt]:
        """The retry layer: attempts while the failure is one that time or another endpoint heals, and patience lasts.

        After a failure the next endpoint that is well is asked at once; when all were tried there is a pause.
        """
        call = _Call(self._monotonic() + self._patience.total_s)
        while True:
            self._halt.check()
            self._route.require_open()
            reservation = self._reserve(question, lane, call.give_up_at)
            turn = self._turn(call, reservation)
            try:
                answer, receipt, weight = self._once(self._services[turn.url], question, reservation)
            except TryAgain as error:
                self._give_up_if_halted(turn, question, reservation, error)
                self._failed(call, turn, question, reservation, error)
                self._pause(call, question, error)
            except BaseException as error:
                self._count(errors=1)
                self._settle_failed(question, reservation, error)
                self._refused(turn, error)
                raise
            else:
                self._settle(reservation, weight)
                self._route.answered(turn, call.doubted)
                spent = call.spent + weight
                return answer, replace(receipt, weight=spent, retries=call.attempt - 1, refused=call.refused)
            call.attempt += 1
            self._count(retries=1)

    def _ask_once(self, endpoint: str, question: _Question[_T], lane: str) -> tuple[_T, Receipt]:
        """One attempt at one endpoint: no waiting, no repetition, no report."""
        service = self._services.get(endpoint)
        if service is None:
            raise InvalidSetting(f"{endpoint} is not among the endpoints: {', '.join(self.endpoints)}")
        try:
            reservation = self._reserve(question, lane, self._monotonic())
        except RateLimited as error:  # nothing was sent, and this endpoint may be innocent
            raise BudgetExhausted(str(error), retry_after=error.retry_after) from error
        try:
            answer, receipt, weight = self._once(service, question, reservation)
        except BaseException as error:
            self._count(errors=1, status_429=int(isinstance(error, RateLimited)))
            self._settle_failed(question, reservation, error)
            raise
        self._settle(reservation, weight)
        return answer, replace(receipt, weight=weight)

    def _turn(self, call: _Call, reservation: Reservation) -> Turn:
        """Whom this attempt asks; waits a little for another's verdict on the last endpoint.

        Raises:
            ExchangeUnavailable, RateLimited: nobody may be asked; the reservation is given back.
        """
        until = min(call.give_up_at, self._monotonic() + VERDICT_SECONDS)
        try:
            while True:
                try:
                    return self._route.choose(call.tried)
                except BeingProbed as error:
                    wait = error.retry_after or 0.0
                    if self._monotonic() + wait > until:
                        raise
                    self._sleep(wait)
        except BaseException:
            self._settle(reservation, 0)
            raise

    def _give_up_if_halted(
        self, turn: Turn, question: _Question[_T], reservation: Reservation, error: TryAgain
    ) -> None:
        """Pay for an attempt that failed while the process is to stop; it may be our haste, so nobody is blamed.

        Raises:
            Halted: it is to stop.
        """
        if self._halt.wanted:
            self._settle_failed(question, reservation, error)
            self._route.release(turn)
            raise Halted(f"the process was told to stop; {question.name} had no answer yet: {error}") from error

    def _failed(
        self, call: _Call, turn: Turn, question: _Question[_T], reservation: Reservation, error: TryAgain
    ) -> None:
        """Pay for a failed attempt and tell of it. Whether a 500 on a coin was the endpoint's fault, another says."""
        self._count(errors=1, status_429=int(isinstance(error, RateLimited)))
        call.refused += isinstance(error, RateLimited)
        call.spent += self._settle_failed(question, reservation, error)
        if not isinstance(error, RateLimited):  # it is our address that is limited, whichever way we ask
            call.tried.add(turn.url)
        if isinstance(error, Ambiguous):
            call.doubted.add(turn.url)
            self._route.release(turn)
        else:
            self._route.failed(turn, error)

    def _refused(self, turn: Turn, error: BaseException) -> None:
        """No repetition cures it. Who refuses this request has answered; who refuses all is not well, if others are."""
        if isinstance(error, Misaddressed) and len(self.endpoints) > 1:
            self._route.failed(turn, error)
        elif isinstance(error, RequestRefused):
            self._route.answered(turn)
        else:
            self._route.release(turn)

    def _pause(self, call: _Call, question: _Question[_T], error: TryAgain) -> None:
        """Wait as long as the failure asks for, not at all if another endpoint may do better; raise it at the end."""
        limited = isinstance(error, RateLimited)
        pause = self._patience.pause_after(error, call.attempt)
        if limited:
            self._keep_quiet(pause)
        elif self._route.has_other(call.tried):
            pause = 0.0
        else:
            call.tried.clear()
        allowed = _ATTEMPTS_ON_AMBIGUOUS_500 if isinstance(error, Ambiguous) else self._patience.attempts
        if call.attempt >= allowed or self._monotonic() + pause > call.give_up_at or not self._route.is_open():
            raise error
        _LOG.info("attempt %d at %s failed, next in %.1f s: %s", call.attempt, question.name, pause, error)
        if pause:
            self._sleep(pause)

    def _reserve(self, question: _Question[_T], lane: str, give_up_at: float) -> Reservation:
        """Weight for one request, waited for while patience lasts.

        It asks again more often than told: that keeps its place in the queue, and meets weight given back early.

        Raises:
            BudgetExhausted: the budget stayed empty for too long; nothing was sent.
        """
        weight = request_weight(question.kind, question.most_rows)
        refused = False
        try:
            while True:
                self._wait_out_the_quiet(give_up_at)
                try:
                    return self._budget.reserve(weight, lane=lane)
                except BudgetExhausted as refusal:
                    refused = True
                    self._count(refusals=1)
                    wait = min(max(refusal.retry_after or 1.0, 0.001), CLAIM_REPEAT_SECONDS)
                    if self._monotonic() + wait > give_up_at:
                        raise
                    self._sleep(wait)
        except BaseException as error:
            if refused and not isinstance(error, PipelineError):  # an interrupt: nobody is to wait behind us
                self._leave_the_queue()
            raise

    def _leave_the_queue(self) -> None:
        """Give up this thread's place; when that fails it is forgotten within seconds."""
        try:
            self._budget.withdraw()
        except TryAgain as error:
            _LOG.warning("a place in the weight budget's queue is left to expire: %s", error)

    def _keep_quiet(self, seconds: float) -> None:
        """After a 429 no thread of this client sends for a while: the limit is one for all."""
        with self._guard:
            self._quiet_until = max(self._quiet_until, self._monotonic() + seconds)

    def _wait_out_the_quiet(self, give_up_at: float) -> None:
        with self._guard:
            until = self._quiet_until
        wait = until - self._monotonic()
        if wait <= 0:
            return
        if until > give_up_at:
            raise RateLimited(
                f"{self.endpoint} answered 429 a moment ago and wants {wait:.0f} s of quiet, longer than our patience; "
                "nothing was sent",
                retry_after=wait,
            )
        self._sleep(wait)

    def _once(self, service: InfoService, question: _Question[_T], reservation: Reservation) -> tuple[_T, Receipt, int]:
        self._count(requests=1)
        started = self._monotonic()
        body = service.post(question.payload, question.name)
        latency_ms = (self._monotonic() - started) * 1000
        answer = question.decode(body)
        weight = request_weight(question.kind, question.rows(answer))
        digest = hashlib.sha256(body).digest()
        return answer, Receipt(service.url, _OK, latency_ms, reservation.weight, digest), weight

    def _settle_failed(self, question: _Question[_T], reservation: Reservation, error: BaseException) -> int:
        """Settle a failed attempt: the base where no rows were served, else all that was reserved, as nobody knows."""
        unserved = isinstance(error, RateLimited | Unserved | RequestRefused)
        weight = request_weight(question.kind) if unserved else reservation.weight
        self._settle(reservation, weight)
        return weight

    def _settle(self, reservation: Reservation, weight: int) -> None:
        """Settle; when that fails the reservation stays, which can only make us slower."""
        try:
            self._budget.settle(reservation, weight)
        except TryAgain as error:
            self._count(unsettled=1)
            _LOG.warning("reservation %d of %d stays unsettled: %s", reservation.spend_id, reservation.weight, error)
        else:
            self._count(weight=weight)

    def _count(self, **more: int) -> None:
        with self._guard:
            self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})


def _no_rows(_: object) -> int:
    return 0


def _status_question() -> _Question[int]:
    return _Question({"type": "exchangeStatus"}, 0, market_answers.decode_exchange_status, _no_rows)


def _candles_question(request: CandleRequest) -> _Question[tuple[list[Candle], list[RejectedRow], int]]:
    length = request.series.interval.milliseconds
    if not 0 <= request.start_ms < request.end_ms or request.start_ms % length or request.end_ms % length:
        raise ValueError(f"{request}: the span has to be positive and on the grid of {length} ms")
    asked = {
        "coin": request.series.coin,
        "interval": request.series.interval.value,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,
    }
    return _Question(
        {"type": "candleSnapshot", "req": asked},
        min(request.slots, WINDOW_SLOTS),
        lambda body: candle_answers.decode_candles(body, request),
        lambda answer: len(answer[0]) + len(answer[1]) + answer[2],
    )


def _markets_question(dex: str) -> _Question[market_answers.MarketsAndContexts]:
    payload = {"type": "metaAndAssetCtxs", "dex": dex} if dex else {"type": "metaAndAssetCtxs"}
    return _Question(payload, 0, lambda body: market_answers.decode_meta_and_contexts(body, dex), _no_rows)
