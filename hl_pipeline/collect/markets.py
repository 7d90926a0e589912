"""Bring markets and their quotes up to date, and make the series that tracked markets need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from hl_pipeline.collect.market_alerts import tell
from hl_pipeline.model.answer import MarketsAnswer, RejectedRow
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BadAnswer, PipelineError
from hl_pipeline.model.halt import Halted
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe, choose
from hl_pipeline.storage import fetches, markets, series
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.markets import MarketChanges, Tracked


class MarketSource(Protocol):
    """Whatever can say which markets there are and what they quote."""

    def markets(self, *, dexes: tuple[str, ...] = ("",), spot: bool = False, lane: str = "live") -> MarketsAnswer:
        """Every market of the perp universes named by ``dexes`` (and spot), joined with its quotes."""
        ...


@dataclass(frozen=True, slots=True)
class MarketsReport:
    """What one refresh found. ``unknown`` are wanted coins that the exchange does not have.

    ``tracked`` are the coins collected from now on, ``turned`` those of whom
    that is new or over. ``restarted`` series were left alone for so long that
    they begin anew.
    """

    changes: MarketChanges
    tracked: list[str]
    turned: Tracked
    contexts: int
    series_added: int
    reopened: int
    restarted: int
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
    universe: Universe = Universe.LIST,
    run_id: str | None = None,
) -> MarketsReport:
    """Store all markets with their changes and quotes, track ``coins`` and the ``universe``, make their series.

    Raises:
        TryAgain: the exchange could not be asked, or sent a universe without markets; nothing was changed.
    """
    dexes, spot = wanted_universes(coins)
    asked_ms = clock.now_ms()
    fetch_id = _asked(database, asked_ms, run_id)
    answer = _ask(source, database, fetch_id, dexes, spot)
    Partitions(database, "market_context").ensure(asked_ms, asked_ms)
    with database.connection() as connection:
        unreadable = {row.position for row in answer.rejected}
        changes = markets.upsert(connection, answer.markets, asked_ms, dexes=dexes, spot=spot, unreadable=unreadable)
        standings = markets.standings(connection, _day_volumes(answer))
        turned = markets.track(connection, choose(universe, coins, standings, asked_ms), asked_ms)
        contexts = markets.insert_contexts(connection, answer.contexts, asked_ms, fetch_id=fetch_id)
        reopened = series.reopen_relisted(connection)
        returned = {**dict.fromkeys(turned.begun), **changes.relisted}
        restarted = series.restart(connection, returned, asked_ms)
        added = series.ensure(connection, intervals, asked_ms)
        tracked, unknown = markets.tracked(connection), markets.unknown(connection, coins)
        tell(connection, changes, standings, tracked, asked_ms)
        for receipt in answer.receipts[:1]:
            fetches.landed(connection, fetch_id, receipt, rows=len(answer.markets), rejected=answer.rejected)
    weight = sum(receipt.weight for receipt in answer.receipts)
    return MarketsReport(
        changes, tracked, turned, contexts, added, reopened, restarted, unknown, answer.rejected, weight
    )


def _day_volumes(answer: MarketsAnswer) -> dict[str, Decimal]:
    """Notional volume of 24 hours by coin, in quote currency."""
    return {context.coin: Decimal(context.day_notional_volume) for context in answer.contexts}


def contexts_by_stream(database: Database, clock: Clock) -> int:
    """How many markets the live stream quotes now; above 0 nobody needs to ask for quotes."""
    with database.connection() as connection:
        return markets.streamed_contexts(connection, clock.now_ms())


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
    except (PipelineError, Halted) as error:
        with database.autocommit() as connection:
            fetches.failed(connection, fetch_id, error)
        raise
    return answer
