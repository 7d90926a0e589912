"""What a person asks about the store: open alerts, content as one hash a table, what a series or a candle holds."""

from __future__ import annotations

from typing import NamedTuple

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


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


def open_alerts(connection: Connection) -> list[OpenAlert]:
    """The gravest and newest first."""
    return [OpenAlert(*row) for row in connection.execute(query("alerts_open"))]


def content_hashes(connection: Connection) -> list[TableContent]:
    """Candles, ledger, gaps and revisions as one hash each; equal content gives equal hashes in any database."""
    return [TableContent(*row) for row in connection.execute(query("content_hashes"))]


def final_candles(connection: Connection, coin: str, interval: Interval) -> list[Candle]:
    """Every final candle of one series, oldest first, as exact decimals."""
    rows = connection.execute(query("candles_final"), {"coin": coin, "interval": str(interval)})
    return [Candle(*row) for row in rows]


class StoredTotals(NamedTuple):
    """How many candles are final, in how many series, by the ledger; and how many revisions.

    ``candles``, the others among them, is the planner's figure, and never below ``final``.
    """

    candles: int
    final: int
    series: int
    revisions: int


def stored_totals(connection: Connection) -> StoredTotals:
    """What is stored, without reading it: the ledger has it counted."""
    row = connection.execute(query("stored_totals")).fetchone()
    assert row is not None  # noqa: S101  # aggregates give one row
    return StoredTotals(*row)


def volumes_shown(connection: Connection, coin: str, interval: Interval, open_ms: int) -> list[str]:
    """The volumes one candle has had, oldest first; the last is the present one. Empty if it is not stored."""
    key = {"coin": coin, "interval": str(interval), "open_time": to_datetime(open_ms)}
    return [row[0] for row in connection.execute(query("candle_history"), key)]


def last_asked_ms(connection: Connection) -> int | None:
    """Market time (ms UTC) of the newest request for candles; null before the first."""
    row = connection.execute(query("last_asked")).fetchone()
    return None if row is None else row[0]
