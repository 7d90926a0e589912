"""The candle table: partitions, and landing an answer's rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query


class Landed(NamedTuple):
    """How the stored rows changed. ``revised`` are those of ``updated`` that replaced a closed candle's value."""

    inserted: int
    updated: int
    revised: int


class Partitions:
    """Makes monthly partitions before they are needed, each once a process.

    In a transaction of its own: making one locks the parent table, which must
    not wait behind, or hold up, somebody's landing.
    """

    def __init__(self, database: Database, parent: str = "candle") -> None:
        self._database = database
        self._parent = parent
        self._known: set[tuple[int, int]] = set()
        self._guard = threading.Lock()

    def ensure(self, first_ms: int, last_ms: int) -> None:
        """Make the partitions for every month from ``first_ms`` to ``last_ms``, both included."""
        first, last = to_datetime(first_ms), to_datetime(last_ms)
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        wanted = {divmod(month, 12) for month in months}
        with self._guard:
            if wanted <= self._known:
                return
            with self._database.connection() as connection:
                connection.execute(
                    query("partitions_ensure"),
                    {"parent": self._parent, "starts": first, "ends": to_datetime(last_ms + 1)},
                )
            self._known |= wanted


def land(
    connection: Connection,
    series_id: int,
    interval: Interval,
    candles: Sequence[Candle],
    *,
    fetch_id: int,
    asked_ms: int,
    settle_ms: int,
) -> Landed:
    """Store ``candles`` (ascending, distinct) of one series as read by REST at ``asked_ms``.

    Their partitions must exist. Unchanged rows are left alone; a changed closed
    row leaves a revision; a row from a request sent later is never replaced.
    """
    if not candles:
        return Landed(0, 0, 0)
    connection.execute(query("candle_staging_table"))
    connection.execute(query("candle_staging_clear"))
    lines = "\n".join([f"{t}\t{o}\t{h}\t{lo}\t{c}\t{v}\t{n}" for t, o, h, lo, c, v, n in candles])
    with connection.cursor().copy(query("candle_stage")) as copy:
        copy.write(lines)
    row = connection.execute(
        query("candle_land"),
        {
            "series_id": series_id,
            "step_ms": interval.milliseconds,
            "settle_ms": settle_ms,
            "asked_ms": asked_ms,
            "asked_at": to_datetime(asked_ms),
            "first": to_datetime(candles[0].open_ms),
            "last": to_datetime(candles[-1].open_ms),
            "fetch_id": fetch_id,
        },
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return Landed(*row)


def newest(connection: Connection, key: SeriesKey, before_ms: int, count: int) -> list[Candle]:
    """At most ``count`` candles of one series that open before ``before_ms`` (UTC), ascending; the open one too."""
    rows = connection.execute(
        query("candles_newest"),
        {"coin": key.coin, "interval": str(key.interval), "before": to_datetime(before_ms), "newest": count},
    )
    return [Candle(*row) for row in rows]


def analyze(connection: Connection) -> None:
    """Refresh the planner's statistics, after a large landing. Cheap: it samples."""
    connection.execute(query("candle_analyze"))
