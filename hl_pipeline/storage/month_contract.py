"""The final candles of whole months, rule by rule, in one scan of the months asked for."""

from __future__ import annotations

from collections.abc import Collection

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.month_contract import MonthContract
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def month_contracts(
    connection: Connection,
    interval: Interval,
    *,
    coins: Collection[str],
    month_starts_ms: Collection[int],
    now_ms: int,
) -> list[MonthContract]:
    """Every combination of the named markets and months (first instants, UTC), by coin and month.

    Markets without a series of ``interval`` are left out.
    """
    rows = connection.execute(
        query("month_contract"),
        {
            "interval": str(interval),
            "coins": list(coins),
            "months": [to_datetime(month) for month in month_starts_ms],
            "now": to_datetime(now_ms),
        },
    )
    return [MonthContract(*row) for row in rows]
