"""The way back: an exported month's rows into their table again, by COPY, as exact as they were."""

from __future__ import annotations

from pathlib import Path

from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.exported import ExportedFile
from hl_pipeline.storage.parquet_export import batches, is_unchanged, texts
from hl_pipeline.storage.parquet_schema import Layout
from hl_pipeline.storage.sql import query

#: What stands in a file beside the table's own columns.
_NOT_STORED = frozenset({"scales", "asked_at"})


def load_again(
    connection: Connection, folder: Path, layout: Layout, exported: ExportedFile, month: Span, *, now_ms: int
) -> int:
    """Put a file's rows back where none stands; returns how many. In the caller's transaction; the partition exists.

    The ledger knows them as before: they were final all the time.

    Raises:
        NeedsAPerson: the file is not there or was changed, or it names a market that this database does not.
    """
    path = folder / exported.file
    if not is_unchanged(folder, exported):
        raise NeedsAPerson(f"{path} is missing, or not the file that was exported: put back the one of its SHA-256")
    connection.execute(query(layout.staging))
    with connection.cursor().copy(query(layout.stage)) as copy:
        for batch in batches(path):
            columns = texts(batch, layout)
            stored = [columns[field.name] for field in layout.schema if field.name not in _NOT_STORED]
            copy.write("".join("\t".join(row) + "\n" for row in zip(*stored, strict=True)))
    row = connection.execute(
        query(layout.restore),
        {"interval": exported.interval, "month": to_datetime(month.start_ms).date()},
    ).fetchone()
    assert row is not None  # noqa: S101  # a select of scalars gives one row
    inserted, known = row
    if known != exported.rows:
        raise NeedsAPerson(
            f"{path} holds {exported.rows} rows, and this database knows the series of {known}: it can only be loaded "
            "where it was exported"
        )
    connection.execute(query("export_restored"), {"now": to_datetime(now_ms), "file": exported.file})
    return int(inserted)
