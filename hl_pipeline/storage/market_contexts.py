"""What is recorded of the markets' quotes, month by month."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class ContextMonth(NamedTuple):
    """One market's month of quotes at an instant; times in ms UTC.

    The exchange keeps no history of quotes: what was not recorded when it was
    quoted cannot be had, so there is never a ``gap`` that a run could close.
    ``hours`` is in how many hours of the month something was recorded;
    ``recorded_since_ms`` is the market's first quote that is stored, null without any;
    ``is_exported`` says that the month's quotes of all markets are in a file.
    """

    coin: str
    month_ms: int
    end_ms: int
    rows: int
    hours: int
    content_hash: str | None
    recorded_since_ms: int | None
    now_ms: int
    is_exported: bool = False

    @property
    def gap(self) -> int:
        """None can be closed."""
        return 0

    @property
    def due(self) -> int:
        """Hours of the month since the market is recorded, the hour under way included."""
        if self.recorded_since_ms is None:
            return 0
        since, until = max(self.month_ms, Interval.H1.floor(self.recorded_since_ms)), min(self.end_ms, self.now_ms)
        return max(0, -(-(until - since) // Interval.H1.milliseconds))

    @property
    def is_whole(self) -> bool:
        """Something is recorded; more of what is past cannot be had."""
        return self.rows > 0

    @property
    def is_sealed(self) -> bool:
        """Whole, and the month is over."""
        return self.is_whole and self.now_ms >= self.end_ms

    @property
    def story(self) -> str:
        """One sentence: what is there, and why not more."""
        if self.rows:
            lost = self.due - self.hours
            return f"recorded in {self.hours} of {self.due} hours" + (
                "; the others cannot be had, the exchange keeps no history of quotes" if lost else ""
            )
        if self.is_exported:
            return "what was recorded was exported to a file and dropped (`hl retention restore`)"
        if self.month_ms > self.now_ms:
            return "the month has not begun"
        return "source gone: the exchange keeps no history of quotes, and nothing was recorded in this month"


def months(
    connection: Connection, *, coins: Collection[str], month_starts_ms: Collection[int], now_ms: int
) -> list[ContextMonth]:
    """Every combination of the named markets and months (UTC), by coin and month; unknown markets are left out."""
    rows = connection.execute(
        query("market_context_months"),
        {
            "coins": list(coins),
            "months": [to_datetime(month) for month in month_starts_ms],
            "now": to_datetime(now_ms),
        },
    )
    return [ContextMonth(*row) for row in rows]
