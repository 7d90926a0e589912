"""Drops what is older than its bound: months of candles and quotes after an export, other rows in batches.

A month goes in three steps. It is written to a file, which is read back; then, with the month's writers held off, the
database compares its rows with what the file was found to hold; only if they are equal it drops them, in that same
transaction. A row that lands meanwhile makes them differ, and the month is exported anew. A crash in between leaves
a file that nobody refers to, which the next run removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from psycopg import errors

from hl_pipeline.model.failure import PipelineError, TryAgain
from hl_pipeline.model.halt import Halt, Halted
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.retention import Bounds, Kind, cutoff, is_due
from hl_pipeline.model.span import Span
from hl_pipeline.storage import retention
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.exported import FOLDERS, ExportedFile
from hl_pipeline.storage.retention import DueRows, MonthContent, Partition

#: Rows a statement drops, and fetches that one looks at.
BATCH = 20_000
#: Fetches that one run looks at; more wait for the next one.
MOST_FETCHES = 2_000_000
#: How often a month is exported anew because rows landed meanwhile, or its lock was not to be had.
_TRIES = 3
_CANDLE = "candle"
_STEPS: tuple[Kind, ...] = tuple(kind for kind in Kind if kind is not Kind.FETCHES)


class DueMonth(NamedTuple):
    """A month of one interval's candles, or of quotes (interval null), that is due. ``bytes`` is its share."""

    relation: str
    interval: Interval | None
    month: Span
    rows: int
    bytes: int
    oldest_ms: int
    is_worked_on: bool

    @property
    def name(self) -> str:
        """As people call it: ``candles 1m 2026-01``."""
        what = "quotes" if self.interval is None else f"candles {self.interval}"
        return f"{what} {to_datetime(self.month.start_ms):%Y-%m}"


@dataclass(frozen=True, slots=True)
class Survey:
    """What is due at market time ``now_ms``. Of the fetches only so many were looked at (``fetches_judged``)."""

    now_ms: int
    months: list[DueMonth]
    rows: list[DueRows]
    fetches_judged: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is due."""
        return not self.months and not any(due.rows for due in self.rows)


@dataclass(slots=True)
class RetentionReport:
    """What one run did. ``kept`` says of each month that could not go why; it is tried again by the next run."""

    dropped: dict[str, int] = field(default_factory=dict)
    files: list[ExportedFile] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    fetches_judged: int = 0

    def count(self, name: str, rows: int) -> None:
        """Add to what was dropped under this name."""
        if rows:
            self.dropped[name] = self.dropped.get(name, 0) + rows


def survey(database: Database, bounds: Bounds, now_ms: int, *, most_fetches: int = 10 * BATCH) -> Survey:
    """What is due now, without touching it. Reads every row of the months that are due."""
    with database.connection() as connection:
        months = [
            due
            for partition in retention.partitions(connection)
            for due in _due_of(partition, _contents(connection, partition, bounds, now_ms))
        ]
        rows = retention.rows_due(connection, {kind: _before(bounds, kind, now_ms) for kind in _STEPS})
        before = _before(bounds, Kind.FETCHES, now_ms)
        judged = 0
        if before is not None:
            fetches, judged = retention.fetches_due(connection, before, most_fetches)
            rows.insert(0, fetches)
    return Survey(now_ms, months, rows, judged)


def apply(
    database: Database,
    bounds: Bounds,
    folder: Path,
    now_ms: int,
    *,
    halt: Halt | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RetentionReport:
    """Drop everything that is due. A month that cannot go is kept and said; the others go on.

    Raises:
        AlreadyRunning: another retention is at work.
        DatabaseUnavailable: the database broke off; what was done is done, the next run goes on.
        Halted: the process is told to stop; the same.
    """
    halt = halt or Halt()
    report = RetentionReport()
    with retention.only_one(database):
        for partition, due in _due_partitions(database, bounds, now_ms):
            _stop_if(halt)
            _drop_month(database, folder, partition, due, now_ms, report)
            say(f"{FOLDERS[partition.relation]} {to_datetime(partition.month.start_ms):%Y-%m} looked at")
        for kind in _STEPS:
            _drop_rows(database, bounds, kind, now_ms, halt, report)
        _drop_fetches(database, bounds, now_ms, halt, report)
    return report


def restore(
    database: Database, folder: Path, month: Span, now_ms: int, *, relation: str, interval: Interval | None = None
) -> dict[str, int]:
    """Load an exported month again: candles of all intervals or one, or quotes. Rows put back, by file.

    It stays for thirty days, then it is due again.

    Raises:
        NeedsAPerson: a file is missing or was changed.
    """
    from hl_pipeline.storage import parquet_restore  # here, because Arrow takes a moment to load
    from hl_pipeline.storage.parquet_schema import LAYOUTS

    layout = LAYOUTS[relation]
    found: dict[str, int] = {}
    with retention.only_one(database):
        with database.connection() as connection:
            files = retention.files(connection, relation, month, interval)
        away = [exported for exported, restored_ms in files if restored_ms is None]
        if away:
            Partitions(database, relation).ensure(month.start_ms, month.end_ms - 1)
        for exported in away:
            with database.connection() as connection:
                found[exported.file] = parquet_restore.load_again(
                    connection, folder, layout, exported, month, now_ms=now_ms
                )
    return found


def _due_partitions(database: Database, bounds: Bounds, now_ms: int) -> list[tuple[Partition, list[MonthContent]]]:
    with database.connection() as connection:
        found = [
            (partition, _contents(connection, partition, bounds, now_ms))
            for partition in retention.partitions(connection)
        ]
    return [(partition, contents) for partition, contents in found if contents]


def _contents(connection: Connection, partition: Partition, bounds: Bounds, now_ms: int) -> list[MonthContent]:
    """What a partition holds of what is due; nothing is read of one that is young."""
    restored = retention.restored(connection)
    due = [
        interval
        for interval, bound_ms in _bounds_of(partition, bounds).items()
        if is_due(
            partition.month, now_ms, bound_ms, restored.get((partition.relation, interval, partition.month.start_ms))
        )
    ]
    intervals = {interval for interval in due if interval is not None}
    if intervals:
        intervals &= retention.intervals_held(connection, partition.month)
    if not due or (not intervals and None not in due):
        return []
    return retention.content(connection, partition.relation, partition.month, intervals)


def _bounds_of(partition: Partition, bounds: Bounds) -> dict[Interval | None, int]:
    if partition.relation == _CANDLE:
        return dict(bounds.candles.items())
    return {} if bounds.contexts_ms is None else {None: bounds.contexts_ms}


def _due_of(partition: Partition, contents: Sequence[MonthContent]) -> list[DueMonth]:
    held = max(partition.rows, sum(content.rows for content in contents), 1)
    return [
        DueMonth(
            partition.relation,
            content.interval,
            partition.month,
            content.rows,
            partition.bytes * content.rows // held,
            content.oldest_ms,
            partition.is_worked_on,
        )
        for content in contents
    ]


def _drop_month(
    database: Database,
    folder: Path,
    partition: Partition,
    due: Sequence[MonthContent],
    now_ms: int,
    report: RetentionReport,
) -> None:
    name = f"{FOLDERS[partition.relation]} {to_datetime(partition.month.start_ms):%Y-%m}"
    if partition.is_worked_on:
        report.kept.append(f"{name}: somebody works on it, the next run looks again")
        return
    why = ""
    for _ in range(_TRIES):
        try:
            files = _exported(database, folder, partition, due, now_ms)
            why = _dropped(database, folder, partition, files, now_ms) or ""
        except errors.LockNotAvailable:
            why = f"a lock on it was not to be had within {retention.LOCK_PATIENCE_MS} ms"
        except PipelineError as error:
            report.kept.append(f"{name}: {error}")
            return
        except OSError as error:
            report.kept.append(f"{name}: {error}; nothing was dropped, see to {folder} (HL_EXPORT_FOLDER)")
            return
        if not why:
            report.files += files
            for file in files:
                report.count("quotes" if file.interval is None else f"candles {file.interval}", file.rows)
            return
    report.kept.append(f"{name}: {why}, {_TRIES} times; the next run tries again")


def _exported(
    database: Database, folder: Path, partition: Partition, due: Sequence[MonthContent], now_ms: int
) -> list[ExportedFile]:
    """A file an interval, each read back and named in its folder's manifest.

    Raises:
        NeedsAPerson: another database exports into this folder, or it cannot be written to.
        TryAgain: what was read back is not what was written.
    """
    from hl_pipeline.storage import parquet_export  # here, because Arrow takes a moment to load
    from hl_pipeline.storage.parquet_schema import LAYOUTS

    layout = LAYOUTS[partition.relation]
    with database.connection() as connection:
        parquet_export.claim(folder, retention.identity(connection))
    made = []
    for content in due:
        place = parquet_export.month_folder(folder, layout, content.interval, partition.month)
        with database.connection() as connection:
            known = [
                file for file, _ in retention.files(connection, layout.relation, partition.month, content.interval)
            ]
            parquet_export.clear(place, [Path(file.file).name for file in known])
            file = parquet_export.export(connection, folder, layout, content.interval, partition.month, now_ms=now_ms)
        parquet_export.write_manifest(place, [*(old for old in known if old.file != file.file), file])
        made.append(file)
    return made


def _dropped(
    database: Database, folder: Path, partition: Partition, files: Sequence[ExportedFile], now_ms: int
) -> str | None:
    """Compare and drop in one transaction; null when done, else why not."""
    from hl_pipeline.storage import parquet_export  # here, because Arrow takes a moment to load

    with database.connection() as connection:
        if not retention.hold(connection, partition.relation, partition.month):
            return "there is no such partition any more"
        for file in files:
            if not parquet_export.is_unchanged(folder, file):
                raise TryAgain(f"{folder / file.file} is not what was read back; nothing was dropped")
        return retention.drop(connection, partition.relation, partition.month, files, now_ms=now_ms)


def _drop_rows(
    database: Database, bounds: Bounds, kind: Kind, now_ms: int, halt: Halt, report: RetentionReport
) -> None:
    before = _before(bounds, kind, now_ms)
    dropped = BATCH
    while before is not None and dropped == BATCH:
        _stop_if(halt)
        with database.connection() as connection:
            dropped = retention.drop_rows(connection, kind, before, BATCH)
        report.count(str(kind), dropped)


def _drop_fetches(database: Database, bounds: Bounds, now_ms: int, halt: Halt, report: RetentionReport) -> None:
    before = _before(bounds, Kind.FETCHES, now_ms)
    judged = BATCH
    while before is not None and judged == BATCH and report.fetches_judged < MOST_FETCHES:
        _stop_if(halt)
        with database.connection() as connection:
            judged, dropped = retention.drop_fetches(connection, before, BATCH)
        report.fetches_judged += judged
        report.count(str(Kind.FETCHES), dropped)


def _before(bounds: Bounds, kind: Kind, now_ms: int) -> int | None:
    bound_ms = bounds.of(kind)
    return None if bound_ms is None else cutoff(now_ms, bound_ms)


def _stop_if(halt: Halt) -> None:
    if halt.wanted:
        raise Halted("the process was told to stop; what is still due is dropped by the next run")
