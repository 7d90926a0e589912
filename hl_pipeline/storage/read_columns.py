"""A window of one series for readers: its candles column by column, and what is known about them, of one instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query


class SeriesAbout(NamedTuple):
    """What is known of a series and of a window's slots; times in ms UTC.

    ``series_id`` is null where the coin is not collected at the interval. ``is_live``: new candles are expected.
    ``due_from_ms`` to ``due_until_ms`` (half-open, null when empty) is the part of the window whose candles are due,
    ``empty`` of its slots are proven to have none, the candles of ``exported`` are in a file and no longer here.
    """

    series_id: int | None
    is_live: bool | None
    known_until_ms: int | None
    newest_close_ms: int | None
    score: float | None
    grade: str | None
    scored_ms: int | None
    due_from_ms: int | None
    due_until_ms: int | None
    empty: int
    exported: int = 0


class CandleColumns(NamedTuple):
    """Candles as columns of one length, ascending by ``open_ms`` (UTC); prices and volumes as exact decimals.

    A candle made up while reading has the source ``filled`` and no finality.
    """

    open_ms: list[int]
    open: list[str]
    high: list[str]
    low: list[str]
    close: list[str]
    volume: list[str]
    trades: list[int]
    finality: list[str | None]
    source: list[str]


def begin_snapshot(connection: Connection) -> None:
    """From here on the transaction, just begun, reads everything of one instant and can write nothing."""
    connection.execute(query("read_snapshot"))


def about(
    connection: Connection, key: SeriesKey, window: Span, *, now_ms: int, settled_until_ms: int
) -> SeriesAbout | None:
    """What is known of the series and the window (half-open, on the grid); null for a coin that nobody ever named."""
    values = {
        "coin": key.coin,
        "interval": str(key.interval),
        "starts": to_datetime(window.start_ms),
        "ends": to_datetime(window.end_ms),
        "now": to_datetime(now_ms),
        "settled_until": to_datetime(settled_until_ms),
    }
    row = connection.execute(query("read_about"), values).fetchone()
    return None if row is None else SeriesAbout(*row)


def columns(
    connection: Connection,
    key: SeriesKey,
    series_id: int,
    window: Span,
    *,
    is_filled: bool = False,
    known_at_ms: int | None = None,
) -> CandleColumns:
    """The series' candles that open in the window (half-open), as stored, filled, or as known at an instant."""
    name = "read_asof" if known_at_ms is not None else "read_filled" if is_filled else "read_stored"
    values = {
        "series_id": series_id,
        "coin": key.coin,
        "interval": str(key.interval),
        "starts": to_datetime(window.start_ms),
        "ends": to_datetime(window.end_ms),
        "known_at": None if known_at_ms is None else to_datetime(known_at_ms),
    }
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(query(name), values).fetchone()
    assert row is not None  # noqa: S101  # aggregates give one row
    return CandleColumns(*row)


@contextmanager
def refreshing(database: Database, series_id: int) -> Iterator[bool]:
    """Whether this is the one, of all processes, who may refresh the series now; who dies gives it back."""
    with database.autocommit() as connection:
        values = {"series_id": series_id}
        is_mine = connection.execute(query("refresh_begin"), values).fetchone() == (True,)
        try:
            yield is_mine
        finally:
            if is_mine:
                connection.execute(query("refresh_end"), values)


def may_refresh(connection: Connection) -> bool:
    """Whether this user may store what a refresh brings."""
    return connection.execute(query("refresh_allowed")).fetchone() == (True,)


def is_refreshing(database: Database, series_id: int) -> bool:
    """Whether somebody refreshes the series at this moment."""
    with database.connection() as connection:
        return connection.execute(query("refresh_under_way"), {"series_id": series_id}).fetchone() == (True,)
