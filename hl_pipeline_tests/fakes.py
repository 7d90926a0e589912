"""Plain stand-ins for the outside: an exchange that is a dictionary, and builders for what it says."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable

from hl_pipeline.model.answer import CandleAnswer, CandleRequest, MarketsAnswer, Receipt, RejectedRow
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.market import Market, MarketContext, MarketKind
from hl_pipeline.model.tariff import request_weight


def candle(open_ms: int, price: str = "100.5", *, volume: str = "2.5", trades: int = 7) -> Candle:
    """A flat candle at ``price``."""
    return Candle(open_ms, price, price, price, price, volume, trades)


def receipt(weight: int = 21) -> Receipt:
    return Receipt("http://fake", 200, 1.0, weight, hashlib.sha256(b"fake").digest())


def market(coin: str, *, is_delisted: bool = False, max_leverage: int | None = 40) -> Market:
    return Market(coin, MarketKind.PERP, "", 2, max_leverage, is_delisted)


def context(coin: str, mark: str = "100.5") -> MarketContext:
    return MarketContext(coin, mark, mark, mark, "99.0", "0.0000125", "0.0001", "1000.0", "50000.0", "500.0")


class FakeExchange:
    """Knows every candle from ``history_start_ms`` on; slots can be hidden, changed or made to fail.

    It answers as the exchange does: candles that overlap the window, the newest
    5000, the open one last.
    """

    def __init__(self, clock: Clock, *, history_start_ms: int = 0, markets: Iterable[Market] = ()) -> None:
        self.clock = clock
        self.history_start_ms = history_start_ms
        self.universe = list(markets)
        self.hidden: set[tuple[SeriesKey, int]] = set()
        self.changed: dict[tuple[SeriesKey, int], Candle] = {}
        self.rejected: list[RejectedRow] = []
        self.error: Callable[[CandleRequest], PipelineError | None] = lambda _: None
        self.requests: list[CandleRequest] = []
        self.weight = 0
        self.ends_at: dict[str, int] = {}
        self.unquoted: set[str] = set()

    def candles(self, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        self.requests.append(request)
        error = self.error(request)
        if error is not None:
            raise error
        rows = list(self._rows(request))
        weight = request_weight("candleSnapshot", len(rows))
        self.weight += weight
        return CandleAnswer(request, rows, list(self.rejected), 0, receipt(weight))

    def markets(self, *, dexes: tuple[str, ...] = ("",), spot: bool = False, lane: str = "live") -> MarketsAnswer:
        contexts = [context(found.coin) for found in self.universe if found.coin not in self.unquoted]
        return MarketsAnswer(list(self.universe), contexts, [], [receipt(20)])

    def truth(self, key: SeriesKey, open_ms: int) -> Candle:
        """What the exchange will say of a slot once it says the truth."""
        step = key.interval.milliseconds
        return candle(open_ms, f"{100 + open_ms // step % 50}.5", trades=1 + open_ms // step % 9)

    def _rows(self, request: CandleRequest) -> Iterable[Candle]:
        key, now = request.series, self.clock.now_ms()
        oldest = max(request.start_ms, key.interval.oldest_reachable(now), key.interval.ceil(self.history_start_ms))
        newest = min(request.end_ms - 1, now, self.ends_at.get(key.coin, now + 1) - 1)
        for open_ms in itertools.takewhile(lambda at: at <= newest, itertools.count(oldest, key.interval.milliseconds)):
            if (key, open_ms) not in self.hidden:
                yield self.changed.get((key, open_ms)) or self.truth(key, open_ms)


def series(coin: str = "BTC", interval: Interval = Interval.M1) -> SeriesKey:
    return SeriesKey(coin, interval)
