"""What the database holds that is due to be dropped, and the dropping itself. Months by partition, rows in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import NamedTuple

from psycopg.types.json import Jsonb

from hl_pipeline.model.failure import AlreadyRunning
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.month import months_in
from hl_pipeline.model.retention import Kind
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.exported import ExportedFile
from hl_pipeline.storage.sql import query

#: How long the drop of a month waits for its locks. Who waits for a whole table holds up all who come after.
LOCK_PATIENCE_MS = 2_000

_DROPS = {
    Kind.ALERTS: "retention_drop_alerts",
    Kind.INCIDENTS: "retention_drop_incidents",
    Kind.SILENCES: "retention_drop_silences",
    Kind.HEALTH_LOG: "retention_drop_health_log",
    Kind.CONFIDENCE: "retention_drop_confidence",
    Kind.DISAGREEMENTS: "retention_drop_disagreements",
    Kind.DEAD_LETTERS: "retention_drop_dead_letters",
    Kind.EPISODES: "retention_drop_episodes",
}


class Partition(NamedTuple):
    """A monthly partition: its size with indexes, rows by the planner, whether somebody holds a lease on the month."""

    relation: str
    month: Span
    bytes: int
    rows: int
    is_worked_on: bool


class MonthContent(NamedTuple):
    """What a month holds of one interval (quotes: null). Equal rows give an equal ``content``, in any order."""

    interval: Interval | None
    rows: int
    content: int
    oldest_ms: int


class DueRows(NamedTuple):
    """Rows of one kind that are due: how many, on how many bytes of data, the oldest of when (ms UTC)."""

    kind: str
    rows: int
    bytes: int
    oldest_ms: int | None


class FetchStep(NamedTuple):
    """Fetches that were looked at, and those of them that were dropped."""

    judged: int
    dropped: int


@contextmanager
def only_one(database: Database) -> Iterator[None]:
    """Hold the place of the one retention of this database.

    Raises:
        AlreadyRunning: another process has it.
    """
    with database.autocommit() as session:
        row = session.execute(query("retention_lock")).fetchone()
        if row is None or not row[0]:
            raise AlreadyRunning(f"another retention is at work in {database.address}: let it end first")
        try:
            yield
        finally:
            if not session.closed:
                session.execute(query("retention_unlock"))


def identity(connection: Connection) -> str:
    """What tells this database from others, and its restored dump from none of them; empty before it is claimed."""
    row = connection.execute(query("installation_identity")).fetchone()
    return "" if row is None else str(row[0])


def partitions(connection: Connection) -> list[Partition]:
    """All monthly partitions of candles and quotes, the oldest first."""
    return [
        Partition(relation, _month(month_ms), size, rows, is_worked_on)
        for relation, month_ms, size, rows, is_worked_on in connection.execute(query("retention_partitions"))
    ]


def restored(connection: Connection) -> dict[tuple[str, Interval | None, int], int]:
    """When each month that was loaded again was, by relation, interval (quotes: null) and first instant; ms UTC."""
    return {
        (relation, None if interval is None else Interval(interval), month_ms): at_ms
        for relation, interval, month_ms, at_ms in connection.execute(query("retention_restored"))
    }


def intervals_held(connection: Connection, month: Span) -> set[Interval]:
    """The intervals of which a month holds candles; looks at one row a series."""
    rows = connection.execute(query("retention_intervals"), {"month": to_datetime(month.start_ms)})
    return {Interval(row[0]) for row in rows}


def content(
    connection: Connection, relation: str, month: Span, intervals: Collection[Interval] = ()
) -> list[MonthContent]:
    """What a month holds of quotes, or of candles of these intervals; reads every row of it."""
    rows = connection.execute(
        query("retention_content"),
        {**_of(relation, month), "intervals": [str(interval) for interval in intervals]},
    )
    return [
        MonthContent(None if interval is None else Interval(interval), count, int(number), oldest_ms)
        for interval, count, number, oldest_ms in rows
    ]


def hold(connection: Connection, relation: str, month: Span) -> bool:
    """Hold the month's writers off until the transaction ends; false when there is no such partition.

    From here on this transaction waits ``LOCK_PATIENCE_MS`` for a lock; psycopg's LockNotAvailable then.
    """
    connection.execute(query("retention_patience"), {"milliseconds": LOCK_PATIENCE_MS})
    row = connection.execute(query("retention_hold"), _of(relation, month)).fetchone()
    return bool(row is not None and row[0])


def drop(
    connection: Connection, relation: str, month: Span, files: Collection[ExportedFile], *, now_ms: int
) -> str | None:
    """Drop the rows that stand in these files, in one step; null when done, else why nothing was changed.

    The database compares the rows it holds with what the files were found to hold, under the lock that ``hold`` took.
    """
    described = [{**asdict(file), "content": str(file.content)} for file in files]
    row = connection.execute(
        query("retention_drop"), {**_of(relation, month), "files": Jsonb(described), "now": to_datetime(now_ms)}
    ).fetchone()
    return None if row is None else row[0]


def files(
    connection: Connection, relation: str, month: Span, interval: Interval | None = None
) -> list[tuple[ExportedFile, int | None]]:
    """The files whose rows were dropped from a month, and when each was loaded again (ms UTC; null: it was not)."""
    rows = connection.execute(
        query("export_files"),
        {
            "relation": relation,
            "month": to_datetime(month.start_ms).date(),
            "interval": None if interval is None else str(interval),
        },
    )
    return [
        (ExportedFile(name, file, count, size, sha256, int(number), exported_ms), restored_ms)
        for name, file, count, size, sha256, number, exported_ms, restored_ms in rows
    ]


def rows_due(connection: Connection, before_ms: Mapping[Kind, int | None]) -> list[DueRows]:
    """Rows that are older than their bound and may go; a kind without a bound has none."""
    parameters = {
        "alerts": _instant(before_ms.get(Kind.ALERTS)),
        "logs": _instant(before_ms.get(Kind.HEALTH_LOG)),
    }
    return [DueRows(*row) for row in connection.execute(query("retention_rows"), parameters)]


def drop_rows(connection: Connection, kind: Kind, before_ms: int, batch: int) -> int:
    """Drop at most ``batch`` rows of a kind from before an instant; returns how many."""
    return connection.execute(query(_DROPS[kind]), {"before": to_datetime(before_ms), "batch": batch}).rowcount


def fetches_due(connection: Connection, before_ms: int, batch: int) -> tuple[DueRows, int]:
    """Of the next ``batch`` fetches before an instant: those that nothing refers to; and how many were looked at."""
    row = connection.execute(query("retention_fetches"), {"before": to_datetime(before_ms), "batch": batch}).fetchone()
    assert row is not None  # noqa: S101  # aggregates give one row
    return DueRows(Kind.FETCHES, *row[:3]), int(row[3])


def drop_fetches(connection: Connection, before_ms: int, batch: int) -> FetchStep:
    """Look at the next ``batch`` fetches from before an instant and drop those that nothing refers to."""
    row = connection.execute(
        query("retention_drop_fetches"), {"before": to_datetime(before_ms), "batch": batch}
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    return FetchStep(*row)


def _of(relation: str, month: Span) -> dict[str, object]:
    return {"relation": relation, "month": to_datetime(month.start_ms)}


def _month(start_ms: int) -> Span:
    return months_in(Span(start_ms, start_ms + 1))[0]


def _instant(at_ms: int | None) -> object:
    return None if at_ms is None else to_datetime(at_ms)
