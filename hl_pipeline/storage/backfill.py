"""What the store knows that a forecast needs: settled slots by month, bytes a row, the lane's floor."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from hl_pipeline.model.forecast import Settled
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

#: Bytes of a stored candle with its share of the primary key: 133,406 candles of six markets measured 165 on
#: PostgreSQL 18. Used until the tables are large enough to be measured themselves.
USUAL_ROW_BYTES = 165
#: Below this the half-empty first pages of each partition would be most of what is measured.
MEASURABLE_ROWS = 50_000


class RowSize(NamedTuple):
    """Bytes a candle takes on disk, indexes included; ``measured_rows`` is 0 when it is our usual figure."""

    bytes: float
    measured_rows: int


def settled(connection: Connection, series_ids: Collection[int]) -> dict[tuple[int, int], Settled]:
    """What the ledger has settled, by series and first instant of the month (ms UTC)."""
    rows = connection.execute(query("series_settled"), {"series_ids": list(series_ids)})
    return {(row[0], row[1]): Settled(*row[2:]) for row in rows}


def row_size(connection: Connection) -> RowSize:
    """Bytes a candle takes in this database, once there are enough to measure."""
    row = connection.execute(query("candle_footprint")).fetchone()
    rows, size = row or (0, 0)
    return RowSize(size / rows, rows) if rows >= MEASURABLE_ROWS else RowSize(USUAL_ROW_BYTES, 0)


def floor_percent(connection: Connection, lane: str) -> int:
    """Percent of the weight budget that the lane gets however busy the others are; 0 when there is no such lane."""
    row = connection.execute(query("lane_floor"), {"lane": lane}).fetchone()
    return 0 if row is None else int(row[0])
