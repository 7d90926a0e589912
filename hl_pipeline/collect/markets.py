"""Bring markets and their quotes up to date, and make the series that tracked markets need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from hl_pipeline.model.answer import MarketsAnswer, RejectedRow
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BadAnswer, PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.storage import fetches, markets, series
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.markets import MarketChanges


class MarketSource(Protocol):
    """Whatever can say which markets there are and what they quote."""

    def markets(self, *, dexes: tuple[str, ...] = ("",), spot: bool = False, lane: str = "live") -> MarketsAnswer:
        """Every market of the perp universes named by ``dexes`` (and spot), joined with its quotes."""
        ...


@dataclass(frozen=True, slots=True)
class MarketsReport:
    """What one refresh found. ``unknown`` are wanted coins that the exchange does not have."""

    changes: MarketChanges
    contexts: int
    series_added: int
    reopened: int
    unknown: list[str]
    rejected: list[RejectedRow]
    weight: int


def wanted_universes(coins: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """Which perp dexes, and whether spot, must be asked for to know these coins."""
    dexes = {coin.split(":", 1)[0] for coin in coins if ":" in coin}
    spot = any(coin.startswith("@") or "/" in coin for coin in coins)
    return ("", *sorted(dexes)), spot


def refresh_markets(
    source: MarketSource,
    database: Database,
    clock: Clock,
    *,
    coins: Collection[str],
    intervals: Collection[Interval],
    run_id: str | None = None,
) -> MarketsReport:
    """Store the universe with its changes and quotes, track ``coins`` and make their series.

    Raises:
        TryAgain: the exchange could not be asked, or sent a universe without markets; nothing was changed.
    """
    dexes, spot = wanted_universes(coins)
    asked_ms = clock.now_ms()
    fetch_id = _asked(database, asked_ms, run_id)
    answer = _ask(source, database, fetch_id, dexes, spot)
    Partitions(database, "market_context").ensure(asked_ms, asked_ms)
    with database.connection() as connection:
        changes = markets.upsert(connection, answer.markets, asked_ms)
        unknown = markets.track(connection, coins)
        contexts = markets.insert_contexts(connection, answer.contexts, asked_ms, fetch_id=fetch_id)
        added = series.ensure(connection, intervals, asked_ms)
        reopened = series.reopen_relisted(connection)
        for receipt in answer.receipts[:1]:
            fetches.landed(connection, fetch_id, receipt, rows=len(answer.markets), rejected=answer.rejected)
    weight = sum(receipt.weight for receipt in answer.receipts)
    return MarketsReport(changes, contexts, added, reopened, unknown, answer.rejected, weight)


def refresh_contexts(
    source: MarketSource, database: Database, clock: Clock, *, coins: Collection[str], run_id: str | None = None
) -> int:
    """Store one more quote for every tracked market; returns how many were stored.

    Raises:
        TryAgain: the exchange could not be asked; nothing was changed.
    """
    dexes, spot = wanted_universes(coins)
    asked_ms = clock.now_ms()
    fetch_id = _asked(database, asked_ms, run_id)
    answer = _ask(source, database, fetch_id, dexes, spot)
    Partitions(database, "market_context").ensure(asked_ms, asked_ms)
    with database.connection() as connection:
        stored = markets.insert_contexts(connection, answer.contexts, asked_ms, fetch_id=fetch_id, tracked_only=True)
        for receipt in answer.receipts[:1]:
            fetches.landed(connection, fetch_id, receipt, rows=stored, rejected=answer.rejected)
    return stored


def _asked(database: Database, asked_ms: int, run_id: str | None) -> int:
    with database.autocommit() as connection:
        return fetches.asked(connection, "metaAndAssetCtxs", asked_ms, run_id=run_id)


def _ask(source: MarketSource, database: Database, fetch_id: int, dexes: tuple[str, ...], spot: bool) -> MarketsAnswer:
    try:
        answer = source.markets(dexes=dexes, spot=spot)
        if not answer.markets:
            raise BadAnswer("the exchange sent a universe without a single market: kept what we had; ask again")
    except PipelineError as error:
        with database.autocommit() as connection:
            fetches.failed(connection, fetch_id, error)
        raise
    return answer
