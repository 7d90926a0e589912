"""What the alert rules find market by market, read by SQL: stale, little trusted, jumping, dear to hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class StaleMarket(NamedTuple):
    """The newest closed candle of ``interval`` is ``age_s`` old, in seconds; ``bound_s`` is the bound."""

    coin: str
    interval: str
    age_s: float
    bound_s: float


class DoubtedMarket(NamedTuple):
    """``score`` is 0 to 1, ``weakest`` the component that weighs it down most."""

    coin: str
    interval: str
    score: float
    weakest: str


class MovedMarket(NamedTuple):
    """``moved`` is a share: 0.1 is ten percent up within the hour."""

    coin: str
    moved: float
    price: float
    before: float
    bound: float


class DearMarket(NamedTuple):
    """``rate`` is a fraction of the position, for an hour."""

    coin: str
    rate: float
    bound: float


def stale_markets(connection: Connection, now_ms: int, bounds_s: Mapping[Interval, float]) -> list[StaleMarket]:
    """Markets with an interval older than its bound."""
    parameters = {
        "now": to_datetime(now_ms),
        "intervals": [str(interval) for interval in bounds_s],
        "bounds": list(bounds_s.values()),
    }
    return [StaleMarket(*row) for row in connection.execute(query("alert_find_stale"), parameters)]


def doubted_markets(connection: Connection, now_ms: int, threshold: float) -> list[DoubtedMarket]:
    """Markets with a series that was last scored below ``threshold``."""
    parameters = {"now": to_datetime(now_ms), "threshold": threshold}
    return [DoubtedMarket(*row) for row in connection.execute(query("alert_find_confidence"), parameters)]


def moved_markets(connection: Connection, now_ms: int, threshold: float) -> list[MovedMarket]:
    """Markets whose price moved by more than ``threshold``, or their own bound, within an hour."""
    parameters = {"now": to_datetime(now_ms), "threshold": threshold}
    rows = connection.execute(query("alert_find_price_move"), parameters)
    return [MovedMarket(coin, *map(float, rest)) for coin, *rest in rows]


def dear_markets(connection: Connection, now_ms: int, threshold: float) -> list[DearMarket]:
    """Markets whose funding rate is beyond ``threshold``, or their own bound, either way."""
    parameters = {"now": to_datetime(now_ms), "threshold": threshold}
    rows = connection.execute(query("alert_find_funding"), parameters)
    return [DearMarket(coin, *map(float, rest)) for coin, *rest in rows]
