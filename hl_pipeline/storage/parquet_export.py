"""A month of a table as a Parquet file: written aside, flushed, named, and read back.

``<folder>/candles/interval=1m/month=2026-01/part-<12 digits of its SHA-256>.parquet``, beside it a ``_manifest.json``
with the SHA-256, rows and content of each file. Hive readers (pyarrow, DuckDB, Spark) pass over the manifest. The
content of a file is the same number that ``hl.month_content`` gives for the table.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from hl_pipeline.model.failure import NeedsAPerson, TryAgain
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.exported import FOLDERS, ExportedFile
from hl_pipeline.storage.parquet_schema import DECIMAL, Layout
from hl_pipeline.storage.sql import query

MANIFEST = "_manifest.json"
#: Says in a folder of exports whose they are.
OWNER = "_database.json"
#: Bytes of CSV that become one row group: about 150,000 candles.
_BLOCK = 16 * 1024 * 1024
_SHOWN_DIGITS = 12


def month_folder(folder: Path, layout: Layout, interval: Interval | None, month: Span) -> Path:
    """Where the files of a month are, in Hive's way of naming."""
    place = folder / FOLDERS[layout.relation]
    if interval is not None:
        place /= f"interval={interval}"
    return place / f"month={to_datetime(month.start_ms):%Y-%m}"


def claim(folder: Path, identity: str) -> None:
    """Mark the folder as this database's; the first caller decides.

    Whatever the database does not know of, ``clear`` takes for the rest of a crash: in another's folder that is the
    only copy of dropped rows.

    Raises:
        NeedsAPerson: another database exports here, or the folder cannot be written to.
    """
    mark = folder / OWNER
    try:
        if not mark.exists():
            _make(folder)
            aside = folder / f".{os.getpid()}.tmp"
            try:
                _write_json(aside, {"database": identity})
                try:
                    os.link(aside, mark)
                except FileExistsError:
                    pass  # another was quicker
                except OSError:  # not every file system has links
                    aside.replace(mark)
            finally:
                aside.unlink(missing_ok=True)
            _flush_folder(folder)
        owner = json.loads(mark.read_text(encoding="utf-8"))["database"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeedsAPerson(f"{mark} cannot be written or read ({error}), nothing was dropped: look at it") from error
    if owner != identity:
        raise NeedsAPerson(
            f"{folder} holds the exports of another database ({owner or 'of no venue'}; this one is {identity}), "
            "nothing was dropped: give each database a folder of its own in HL_EXPORT_FOLDER"
        )


def export(
    connection: Connection, folder: Path, layout: Layout, interval: Interval | None, month: Span, *, now_ms: int
) -> ExportedFile:
    """Write one interval's month (quotes: null) as ``connection`` sees it, and read it back.

    A crash leaves at most a file that nobody refers to.

    Raises:
        NeedsAPerson: a value does not fit, or the file cannot be written.
        TryAgain: what was read back is not what was written.
    """
    place = month_folder(folder, layout, interval, month)
    aside = place / f".{os.getpid()}.tmp"
    try:
        _make(place)
        try:
            written = _write(connection, aside, layout, interval, month)
            sha256 = _sha256(aside)
            target = place / f"part-{sha256[:_SHOWN_DIGITS]}.parquet"
            aside.replace(target)
            _flush_folder(place)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise NeedsAPerson(f"the export to {place} failed, nothing was dropped: {error}; make room there") from error
    rows, content = read_back(target, layout)
    if rows != written:
        raise TryAgain(f"{target} holds {rows} rows and {written} were written; nothing was dropped, export it again")
    relative = str(target.relative_to(folder))
    return ExportedFile(
        None if interval is None else str(interval), relative, rows, target.stat().st_size, sha256, content, now_ms
    )


def is_unchanged(folder: Path, exported: ExportedFile) -> bool:
    """Whether the file still has the bytes that were read back."""
    try:
        return _sha256(folder / exported.file) == exported.sha256
    except OSError:
        return False


def read_back(path: Path, layout: Layout) -> tuple[int, int]:
    """A file's rows and content, from the file alone.

    Raises:
        TryAgain: it cannot be read, or a page of it is damaged.
    """
    rows = content = 0
    try:
        for batch in batches(path):
            rows += batch.num_rows
            content += _content(batch, layout)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TryAgain(f"{path} cannot be read back: {error}; nothing was dropped, export it again") from error
    return rows, content


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """A file's rows, part by part; page checksums are verified."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=50_000)


def texts(batch: pa.RecordBatch, layout: Layout) -> dict[str, list[str]]:
    """Every column as Postgres writes it, null as nothing; decimals with as many digits as were stored."""
    found: dict[str, list[str]] = {}
    digits = [_scales(scales) for scales in batch.column("scales").to_pylist()]
    for name in batch.schema.names:
        column = batch.column(name)
        if name in layout.decimals:
            place = layout.decimals.index(name)
            found[name] = [
                "" if value is None else format(value, scales[place])
                for value, scales in zip(column.to_pylist(), digits, strict=True)
            ]
            continue
        if name in layout.instants:
            column = column.cast(pa.int64())
        found[name] = ["" if value is None else str(value) for value in column.to_pylist()]
    return found


def write_manifest(place: Path, files: Collection[ExportedFile]) -> None:
    """Name the files of a folder with their checksums; an older manifest is replaced in one step."""
    aside = place / f".{os.getpid()}.tmp"
    document = {
        "files": [{**asdict(file), "file": Path(file.file).name, "content": str(file.content)} for file in files],
        "content": "sum of the first 64 bits (signed) of the MD5 of each row's columns as text, joined by |",
    }
    try:
        _write_json(aside, document)
        aside.replace(place / MANIFEST)
    finally:
        aside.unlink(missing_ok=True)
    _flush_folder(place)


def clear(place: Path, keep: Collection[str]) -> list[str]:
    """Remove what an interrupted export left: files that are not among the names in ``keep``; returns their names."""
    if not place.is_dir():
        return []
    left = [path for path in place.iterdir() if path.name not in {*keep, MANIFEST}]
    left = [path for path in left if path.suffix in {".parquet", ".tmp"}]
    for path in left:
        path.unlink()
    return sorted(path.name for path in left)


def _write(connection: Connection, aside: Path, layout: Layout, interval: Interval | None, month: Span) -> int:
    parameters = {
        "interval": None if interval is None else str(interval),
        "starts": to_datetime(month.start_ms),
        "ends": to_datetime(month.end_ms),
    }
    told = {
        "hl_pipeline.relation": f"hl.{layout.relation}",
        "hl_pipeline.month": f"{to_datetime(month.start_ms):%Y-%m}",
        **({} if interval is None else {"hl_pipeline.interval": str(interval)}),
    }
    schema = layout.schema.with_metadata(told)
    rows = 0
    with (
        connection.cursor().copy(query(layout.copy), parameters) as copy,
        aside.open("wb") as out,
        pq.ParquetWriter(out, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in _read_csv(copy, layout):
            writer.write_batch(_typed(batch, layout, schema))
            rows += batch.num_rows
        writer.close()
        out.flush()
        os.fsync(out.fileno())
    return rows


def _read_csv(copy: psycopg.Copy, layout: Layout) -> Iterator[pa.RecordBatch]:
    reader = pa.csv.open_csv(
        cast("IO[bytes]", _CopyStream(copy)),
        read_options=pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=layout.csv_types(), null_values=[""], strings_can_be_null=True
        ),
    )
    yield from reader


def _typed(batch: pa.RecordBatch, layout: Layout, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        column = batch.column(field.name)
        try:
            columns.append(column if column.type == field.type else pc.cast(column, field.type))
        except pa.ArrowInvalid as error:
            raise NeedsAPerson(
                f"{layout.relation}.{field.name} has a value that no {DECIMAL} holds ({error}): keep this month, "
                "and report it"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _content(batch: pa.RecordBatch, layout: Layout) -> int:
    columns = texts(batch, layout)
    lines = map("|".join, zip(*(columns[name] for name in layout.hashed), strict=True))
    return sum(
        int.from_bytes(hashlib.md5(line.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)
        for line in lines
    )


@lru_cache(maxsize=10_000)
def _scales(scales: str) -> tuple[str, ...]:
    """``2,,5`` as formats: two digits, nothing, five."""
    return tuple(f".{digits}f" if digits else "" for digits in scales.split(","))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(place: Path) -> None:
    """Make a folder and those above it, each on the disk: a power cut must not take the way to a file."""
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _flush_folder(folder.parent)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as out:
        json.dump(document, out, indent=2)
        out.flush()
        os.fsync(out.fileno())


def _flush_folder(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _CopyStream(io.RawIOBase):
    """Postgres' CSV as a file that Arrow reads."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._rest = bytearray()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        while size < 0 or len(self._rest) < size:
            data: Any = self._copy.read()
            if not data:
                size = len(self._rest)
                break
            self._rest += data
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken
