"""A world: its truth, its markets and its clock; and the exchange's manners in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hl_pipeline.model.clock import Clock, SystemClock
from hl_pipeline.sandbox.catalogue import DAY_MS, MarketSpec, default_markets
from hl_pipeline.sandbox.path import LATE_MS
from hl_pipeline.sandbox.truth import Truth

#: The exchange's intervals of fixed length that divide a day. How it anchors 3d, 1w and 1M is not known.
STEPS_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": DAY_MS,
}


class QuietMode(StrEnum):
    """What the exchange does with slots without a trade (hyperliquid.md 2.2)."""

    DENSE = "dense"
    DENSE_WITH_LAG = "dense_with_lag"
    SPARSE = "sparse"


class WindowMode(StrEnum):
    """Which candles a window holds: those that overlap it, or those that open in it."""

    OVERLAP = "overlap"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Manners:
    """How the exchange behaves where it is odd rather than broken.

    With ``dense_with_lag`` a quiet slot is published between a third of
    ``quiet_lag_ms`` and all of it after its close.

    On the WebSocket a minute's trades are told at most every ``frame_gap_ms``;
    trades in its last ``missed_tail_ms`` go without a frame (0: none do), so
    that about one minute in seven ends short of REST's candle. Contexts and
    mids come every ``quote_gap_ms``. Whether a subscriber gets the open candle
    at once is not known of the exchange, nor which builds greet in plain text.
    """

    quiet: QuietMode = QuietMode.DENSE_WITH_LAG
    window: WindowMode = WindowMode.OVERLAP
    quiet_lag_ms: int = 600_000
    frame_gap_ms: int = 1_000
    missed_tail_ms: int = LATE_MS
    quote_gap_ms: int = 5_000
    snapshot_on_subscribe: bool = False
    greeting: bool = False

    def __post_init__(self) -> None:
        # plain words are welcome, unknown ones are not
        object.__setattr__(self, "quiet", QuietMode(self.quiet))
        object.__setattr__(self, "window", WindowMode(self.window))
        if self.frame_gap_ms < 1 or self.quote_gap_ms < 1:
            raise ValueError(f"frame_gap_ms {self.frame_gap_ms}, quote_gap_ms {self.quote_gap_ms}: use 1 or more")


class World:
    """Everything that is the case: markets, their candles, and what time it is.

    ``markets`` defaults to the catalogue's. With ``history_days`` no market has
    candles older than that many days before the midnight before the clock's
    present reading; without it, markets go back to their listing.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        markets: Iterable[MarketSpec] | None = None,
        clock: Clock | None = None,
        history_days: int | None = None,
    ) -> None:
        self.seed = seed
        self.clock: Clock = clock or SystemClock()
        self.markets = tuple(default_markets() if markets is None else markets)
        start = None
        if history_days is not None:
            now = self.clock.now_ms()
            start = now - now % DAY_MS - history_days * DAY_MS
        self.truth = Truth(seed, self.markets, start)

    def listed(self, now_ms: int) -> list[MarketSpec]:
        """Markets the exchange shows at ``now_ms``, delisted ones included, in its order."""
        return [market for market in self.markets if market.lists_at(now_ms)]

    def find(self, coin: str, now_ms: int) -> MarketSpec | None:
        """The market of that exact name, if it is listed by ``now_ms``."""
        market = self.truth.markets.get(coin)
        return market if market is not None and market.lists_at(now_ms) else None
