"""What the stored candles and their revisions say about how long a candle takes to settle."""

from __future__ import annotations

from datetime import timedelta

from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.settle import PERIOD_MS, PERIODS, Changes
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def changes(connection: Connection, now_ms: int) -> list[Changes]:
    """What became of the candles that closed in the last half hour before ``now_ms`` (market time, UTC).

    By period, the newest first; a period in which none closed is left out.
    """
    period = timedelta(milliseconds=PERIOD_MS)
    found = connection.execute(
        query("settle_evidence"), {"now": to_datetime(now_ms), "period": period, "reach": PERIODS * period}
    )
    return [Changes(rows, tuple(ages_ms)) for rows, ages_ms in found]
