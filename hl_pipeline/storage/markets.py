"""Markets, the history of their changes, and what the exchange quotes for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import NamedTuple

from psycopg.types.json import Jsonb

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.market import Market, MarketContext
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class MarketChanges(NamedTuple):
    """What an upsert of the universe found: markets offered, newly listed, attributes changed, newly delisted."""

    markets: int
    listed: int
    changed: int
    delisted: int


def upsert(connection: Connection, markets: Sequence[Market], seen_ms: int) -> MarketChanges:
    """Bring the markets up to date; every changed attribute leaves a row in ``market_history``."""
    row = connection.execute(
        query("markets_upsert"),
        {"markets": Jsonb([asdict(market) for market in markets]), "seen_at": to_datetime(seen_ms)},
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return MarketChanges(*row)


def track(connection: Connection, coins: Collection[str]) -> list[str]:
    """Collect exactly these markets from now on; returns the coins the exchange does not have."""
    wanted = list(coins)
    connection.execute(query("markets_track"), {"coins": wanted})
    return [row[0] for row in connection.execute(query("markets_unknown"), {"coins": wanted})]


def insert_contexts(
    connection: Connection,
    contexts: Sequence[MarketContext],
    seen_ms: int,
    *,
    fetch_id: int,
    tracked_only: bool = False,
) -> int:
    """Store one quote per market at ``seen_ms``; returns how many were stored. Its partition must exist."""
    return connection.execute(
        query("market_contexts_insert"),
        {
            "contexts": Jsonb([asdict(context) for context in contexts]),
            "seen_at": to_datetime(seen_ms),
            "fetch_id": fetch_id,
            "tracked_only": tracked_only,
        },
    ).rowcount
