"""What a person asks about the whole store: coverage by interval, open alerts, content as one hash a table."""

from __future__ import annotations

from typing import NamedTuple

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class IntervalCoverage(NamedTuple):
    """One interval over all tracked markets: slots by state, times in ms UTC.

    ``oldest_newest_ms`` is the close of the newest closed candle of the market that lags most, delisted markets
    aside; ``deadline_ms`` is when the exchange forgets the first of the missing slots. Both null when there is none.
    """

    interval: Interval
    markets: int
    oldest_newest_ms: int | None
    final: int
    empty: int
    gap: int
    lost: int
    deadline_ms: int | None


class OpenAlert(NamedTuple):
    """An alert that nobody has resolved; times in ms UTC."""

    severity: str
    rule: str
    summary: str
    next_step: str
    times_seen: int
    first_seen_ms: int
    last_seen_ms: int


class TableContent(NamedTuple):
    """A relation's rows and the hash of what they say."""

    relation: str
    rows: int
    content: str


def coverage_by_interval(connection: Connection, now_ms: int, *, settle_ms: int) -> list[IntervalCoverage]:
    """One row for each interval that is collected, shortest first. Slots due but never asked for count as gaps."""
    rows = connection.execute(
        query("coverage_by_interval"), {"now": to_datetime(now_ms), "settle": settle_ms / 1000}
    ).fetchall()
    return [IntervalCoverage(Interval(row[0]), *row[1:]) for row in rows]


def open_alerts(connection: Connection) -> list[OpenAlert]:
    """The gravest and newest first."""
    return [OpenAlert(*row) for row in connection.execute(query("alerts_open"))]


def content_hashes(connection: Connection) -> list[TableContent]:
    """Candles, ledger, gaps and revisions as one hash each; equal content gives equal hashes in any database."""
    return [TableContent(*row) for row in connection.execute(query("content_hashes"))]
