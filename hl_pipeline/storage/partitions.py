"""What the ledger says of a market's month: whole, with holes, or nothing to be had."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class PartitionState(NamedTuple):
    """One market and month of one interval. All but ``rows`` and ``revisions`` count slots.

    ``month_ms`` is the first instant of the month, UTC. ``content_hash`` (hex
    SHA-256) covers the final rows; null without any. ``is_closed`` says that no
    further slot of the month will become due. ``exported`` of the final slots have
    their candle in a file and no longer in the table.
    """

    coin: str
    month_ms: int
    due: int
    final: int
    empty: int
    lost: int
    rows: int
    content_hash: str | None
    revisions: int
    is_closed: bool
    exported: int = 0

    @property
    def gap(self) -> int:
        """Slots due that are still to be had and not settled."""
        return self.due - self.final - self.empty - self.lost

    @property
    def is_whole(self) -> bool:
        """Something is settled, and nothing that is due and reachable is missing."""
        return self.gap == 0 and self.final + self.empty > 0

    @property
    def is_sealed(self) -> bool:
        """Whole, and the month is over: it changes by revisions only."""
        return self.is_whole and self.is_closed

    @property
    def story(self) -> str:
        """One sentence: what it is, and when it is not whole, why."""
        if self.gap:
            return f"{self.gap} of {self.due} due slots are not settled yet"
        if self.exported:
            return f"whole; {self.exported} candles were exported to a file and dropped (`hl retention restore`)"
        if self.final + self.empty:
            return "whole and closed" if self.is_closed else "whole so far; the month is still open"
        if self.lost:
            return f"all {self.lost} due slots were lost: the exchange forgot them before anybody asked"
        return (
            "nothing is reachable: before the market's first candle, beyond the exchange's memory, not yet closed, "
            "or not collected at the time"
        )


def states(
    connection: Connection,
    interval: Interval,
    *,
    coins: Collection[str],
    month_starts_ms: Collection[int],
    now_ms: int,
    settle_ms: int,
) -> list[PartitionState]:
    """Every combination of the named markets and months (UTC), by coin and month; unknown markets are left out."""
    rows = connection.execute(
        query("partition_states"),
        {
            "interval": str(interval),
            "coins": list(coins),
            "months": [to_datetime(month) for month in month_starts_ms],
            "now": to_datetime(now_ms),
            "settle": timedelta(milliseconds=settle_ms),
        },
    )
    return [PartitionState(*row) for row in rows]
