"""How much of what is due is settled, interval by interval: the ledger in six lines."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class IntervalCoverage(NamedTuple):
    """All tracked series of one interval. Counts are slots; ``due`` = final + empty + lost + provisional + gap.

    ``newest_close_ms`` (UTC) is when the newest closed candle of any of them
    closed; null when none is stored. ``provisional`` slots wait for REST to confirm
    what the stream showed.
    """

    interval: Interval
    series: int
    due: int
    final: int
    empty: int
    lost: int
    newest_close_ms: int | None
    provisional: int = 0

    @property
    def gap(self) -> int:
        """Slots due that are neither settled nor about to be."""
        return self.due - self.final - self.empty - self.lost - self.provisional

    @property
    def share(self) -> float:
        """Settled share of what is due and not lost, 0 to 1; 1 when nothing is due."""
        reachable = self.due - self.lost
        return (self.final + self.empty) / reachable if reachable else 1.0


def by_interval(connection: Connection, now_ms: int, settle_ms: int) -> list[IntervalCoverage]:
    """Coverage of the tracked markets at market time ``now_ms``, finest interval first."""
    rows = connection.execute(
        query("coverage_by_interval"),
        {"now": to_datetime(now_ms), "settle": timedelta(milliseconds=settle_ms)},
    )
    return [IntervalCoverage(Interval(row[0]), *row[1:]) for row in rows]


def lost_slots(connection: Connection, series_id: int) -> int:
    """How many slots of one series are lost, in all."""
    row = connection.execute(query("coverage_lost"), {"series_id": series_id}).fetchone()
    return 0 if row is None else int(row[0])


def strip(
    connection: Connection, key: SeriesKey, span: Span, now_ms: int, settle_ms: int, *, buckets: int = 60
) -> list[str]:
    """The span cut into equal buckets, oldest first, each by the worst in it.

    missing, lost, provisional, final, empty, or none where nothing is due;
    an empty list when the series does not exist.
    """
    rows = connection.execute(
        query("slot_states"),
        {
            "coin": key.coin,
            "interval": str(key.interval),
            "starts": to_datetime(span.start_ms),
            "ends": to_datetime(span.end_ms),
            "now": to_datetime(now_ms),
            "settle": timedelta(milliseconds=settle_ms),
            "buckets": buckets,
        },
    )
    return [row[0] for row in rows]
