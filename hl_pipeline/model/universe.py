"""Which markets are collected: those a person names, and those the universe brings in by itself.

The universe speaks of the exchange's own perpetual markets; spot and builder
markets are collected when they are named. ``top50`` and ``top100`` rank by the
notional volume of 24 hours:

- a market enters when its rank is within the size;
- once in, it stays until it has stood beyond 1.5 times the size for three days
  at every look, so that one at the edge does not come and go;
- with ``all``, each listed market is in.

A delisted market, or one the exchange no longer names, has no rank: it never
enters, and leaves after three days, when its series have ended. A named market
is collected whatever its rank, and only as long as it is named. A market whose
volume is unknown at one look stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from hl_pipeline.model.interval import Interval

#: A market that is in stays in up to this many times the size.
STAYS_WITHIN = 1.5
#: How long it must have been beyond that before it leaves.
LEAVES_AFTER_MS = 3 * Interval.D1.milliseconds


class Universe(StrEnum):
    """What is collected beside the markets that are named."""

    LIST = "list"
    TOP50 = "top50"
    TOP100 = "top100"
    ALL = "all"

    @property
    def size(self) -> int | None:
        """The last rank that enters; null where rank does not matter."""
        return {Universe.TOP50: 50, Universe.TOP100: 100}.get(self)


class TrackedBy(StrEnum):
    """Why a market is collected."""

    LIST = "list"
    UNIVERSE = "universe"


@dataclass(frozen=True, slots=True)
class Standing:
    """A market as one look at the exchange found it.

    ``day_volume`` is the notional volume of 24 hours in quote currency, null
    when the answer did not say. ``outside_since_ms`` (UTC) is the first look
    since which the market has been outside; null while it is not, or not in.
    """

    coin: str
    is_perp: bool
    is_delisted: bool = False
    is_absent: bool = False
    day_volume: Decimal | None = None
    tracked_by: TrackedBy | None = None
    outside_since_ms: int | None = None

    @property
    def may_rank(self) -> bool:
        """Whether the universe speaks of this market at all."""
        return self.is_perp and not self.is_delisted and not self.is_absent


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of a market: its rank by volume (1 is the largest), and why it is collected, null if it is not."""

    coin: str
    rank: int | None
    tracked_by: TrackedBy | None
    outside_since_ms: int | None


def choose(universe: Universe, named: Collection[str], standings: Sequence[Standing], now_ms: int) -> list[Choice]:
    """One choice a standing, in their order. Equal volumes rank by name."""
    ranks = _ranks(standings)
    return [_choice(universe, set(named), standing, ranks.get(standing.coin), now_ms) for standing in standings]


def _ranks(standings: Sequence[Standing]) -> dict[str, int]:
    ranked = [
        (-standing.day_volume, standing.coin)
        for standing in standings
        if standing.may_rank and standing.day_volume is not None
    ]
    return {coin: number for number, (_, coin) in enumerate(sorted(ranked), start=1)}


def _choice(universe: Universe, named: Collection[str], standing: Standing, rank: int | None, now_ms: int) -> Choice:
    coin, size = standing.coin, universe.size
    if coin in named:
        return Choice(coin, rank, TrackedBy.LIST, None)
    if universe is Universe.LIST:
        return Choice(coin, rank, None, None)
    is_inside = standing.may_rank and (size is None or (rank is not None and rank <= size))
    if is_inside:
        return Choice(coin, rank, TrackedBy.UNIVERSE, None)
    if standing.tracked_by is not TrackedBy.UNIVERSE:
        return Choice(coin, rank, None, None)
    if standing.may_rank and rank is None:
        return Choice(coin, None, TrackedBy.UNIVERSE, standing.outside_since_ms)
    if rank is not None and size is not None and rank <= STAYS_WITHIN * size:
        return Choice(coin, rank, TrackedBy.UNIVERSE, None)
    since = now_ms if standing.outside_since_ms is None else standing.outside_since_ms
    if now_ms - since >= LEAVES_AFTER_MS:
        return Choice(coin, rank, None, None)
    return Choice(coin, rank, TrackedBy.UNIVERSE, since)
