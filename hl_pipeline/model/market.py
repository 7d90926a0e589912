"""A market as the exchange describes it, and the numbers it quotes beside the candles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class MarketKind(StrEnum):
    """Which of the exchange's universes a market belongs to."""

    PERP = "perp"
    SPOT = "spot"
    BUILDER = "builder"


@dataclass(frozen=True, slots=True)
class Market:
    """One market. ``coin`` is the exchange's case-sensitive name: ``BTC``, ``@107``, ``xyz:TSLA``.

    ``dex`` is empty except for builder markets; ``max_leverage`` is null for spot.
    ``universe_index`` is its place in its dex's universe, a spot pair's own index; a name may change at one place.
    """

    coin: str
    kind: MarketKind
    dex: str
    sz_decimals: int
    max_leverage: int | None
    is_delisted: bool = False
    universe_index: int | None = None


@dataclass(frozen=True, slots=True)
class MarketContext:
    """What the exchange quotes for a market at one instant; decimal strings as on the wire.

    ``funding`` is the hourly rate, ``open_interest`` is in coins, the ``day_*``
    volumes cover the last 24 h. Null means the exchange sent null or has no
    such number for this kind of market.
    """

    coin: str
    mark_price: str
    oracle_price: str | None
    mid_price: str | None
    previous_day_price: str | None
    funding: str | None
    premium: str | None
    open_interest: str | None
    day_notional_volume: str
    day_base_volume: str | None


class FundingRate(NamedTuple):
    """One hourly funding payment of a market.

    ``time_ms`` is the exchange's own instant, UTC, with its jitter (mostly
    under a second); ``rate`` and ``premium`` are decimal strings that may be
    negative. Early answers carry no premium.
    """

    coin: str
    time_ms: int
    rate: str
    premium: str | None


class FundingProgress(NamedTuple):
    """How far a market's funding is read: ``newest_ms`` is its newest stored instant, UTC, null before the first.

    ``ended`` says that the market is delisted and its history was read to the end. ``read_ms`` is when the newest was
    asked for, ``first_seen_ms`` when the market was first heard of, ms UTC.
    """

    market_id: int
    coin: str
    is_delisted: bool
    newest_ms: int | None
    ended: bool
    read_ms: int | None
    first_seen_ms: int
