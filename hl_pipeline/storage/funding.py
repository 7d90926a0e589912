"""Funding rates: how far each market's history is read, landing a page, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from hl_pipeline.model.funding import HOUR_MS, LATEST_MS, FundingMonth
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.market import FundingProgress, FundingRate
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query


class FundingSummary(NamedTuple):
    """What is stored of one market. ``missing`` rates lie between stored neighbours; ``newest_ms`` is UTC."""

    coin: str
    rates: int
    newest_ms: int | None
    missing: int


def progress(connection: Connection, coins: Collection[str]) -> list[FundingProgress]:
    """How far the funding of each tracked perpetual or builder market among ``coins`` is read, by coin."""
    return [FundingProgress(*row) for row in connection.execute(query("funding_progress"), {"coins": list(coins)})]


def insert(connection: Connection, market_id: int, rates: Sequence[FundingRate], *, fetch_id: int) -> int:
    """Store rates of one market; returns how many were new. A time that is stored keeps its first rate."""
    if not rates:
        return 0
    return connection.execute(
        query("funding_insert"),
        {
            "market_id": market_id,
            "fetch_id": fetch_id,
            "times": [to_datetime(rate.time_ms) for rate in rates],
            "rates": [rate.rate for rate in rates],
            "premiums": [rate.premium for rate in rates],
        },
    ).rowcount


def end(connection: Connection, market_id: int, asked_ms: int) -> None:
    """Note that nothing follows the newest rate, if the market has been delisted for two hours at ``asked_ms``."""
    connection.execute(query("funding_end"), {"market_id": market_id, "asked_at": to_datetime(asked_ms)})


def summary(connection: Connection, coins: Collection[str]) -> list[FundingSummary]:
    """What is stored of each tracked perpetual or builder market among ``coins``, by coin; reads every rate."""
    return [FundingSummary(*row) for row in connection.execute(query("funding_summary"), {"coins": list(coins)})]


@contextmanager
def reading(database: Database, wait: Callable[[], None]) -> Iterator[None]:
    """The right to read funding history, for one session at a time: two would ask for the same pages.

    ``wait`` is called as long as another has it; it should take a moment. Who dies gives it back.
    """
    with database.autocommit() as connection:
        while connection.execute(query("funding_reading_begin")).fetchone() != (True,):
            wait()
        try:
            yield
        finally:
            connection.execute(query("funding_reading_end"))


def months(
    connection: Connection, *, coins: Collection[str], month_starts_ms: Collection[int], now_ms: int
) -> list[FundingMonth]:
    """Every combination of the named perpetual or builder markets and months (UTC), by coin and month."""
    # an hour's rate is due once it could no longer be later than any seen
    due_until = (now_ms - LATEST_MS) // HOUR_MS * HOUR_MS + HOUR_MS
    rows = connection.execute(
        query("funding_months"),
        {
            "coins": list(coins),
            "months": [to_datetime(month) for month in month_starts_ms],
            "due_until": to_datetime(due_until),
        },
    )
    return [FundingMonth(*row) for row in rows]
