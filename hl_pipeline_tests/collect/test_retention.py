"""Exported, verified, dropped, loaded again; and everything that must not happen on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from psycopg import errors

from hl_pipeline.collect import retention as engine
from hl_pipeline.collect.retention import apply, restore, survey
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import AlreadyRunning, NeedsAPerson
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.retention import DAY_MS, Bounds
from hl_pipeline.model.span import Span
from hl_pipeline.storage import asof, derivation, parquet_export, partitions, read, retention, series
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.migrations import claim_venue
from hl_pipeline.storage.overview import content_hashes, stored_totals
from hl_pipeline_tests.dying_retention import POINTS
from hl_pipeline_tests.exports import (
    ALL,
    FEBRUARY,
    HOURS,
    JANUARY,
    LATER_MS,
    MARCH,
    NOW_MS,
    candles,
    contents,
    count,
    filled,
    late_candle,
)
from hl_pipeline_tests.stored_world import series_id

FETCH = """
insert into hl.fetch (endpoint, request_type, coin, interval, window_start, window_end, asked_at, status)
values ('http://x', 'candleSnapshot', 'BTC', '1h', %s, %s, %s, 'landed')
"""
#: The oldest candle of a series had another value, of fetch 3, which fetch 2 replaced.
REVISION = """
insert into hl.candle_revision
select series_id, open_time, 2, now(), open, high, low, close, volume, trades, 3, source, finality
from hl.candle where series_id = %s order by open_time limit 1
"""


def exported_rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("candles/**/*.parquet"))


def test_a_month_goes_into_files_and_comes_back_to_the_last_digit(database: Database, tmp_path: Path) -> None:
    filled(database)
    with database.connection() as connection:
        before, hashes = candles(connection), content_hashes(connection)

    report = apply(database, ALL, tmp_path, LATER_MS)
    assert report.kept == []
    with database.connection() as connection:
        assert candles(connection) == []
        assert series.violations(connection) == [], "what was exported is neither missing nor lost"
        assert stored_totals(connection).final == 0
    assert sum(file.rows for file in report.files if file.interval) == len(before) == exported_rows(tmp_path)

    for month in (JANUARY, FEBRUARY, MARCH):
        restore(database, tmp_path, month, LATER_MS, relation="candle")
        restore(database, tmp_path, month, LATER_MS, relation="market_context")
    with database.connection() as connection:
        assert candles(connection) == before
        assert content_hashes(connection) == hashes
        assert series.violations(connection) == []
        assert connection.execute(b"select count(*) from hl.exported_slots").fetchone() == (0,)


def test_a_month_goes_once_its_last_instant_is_older_than_the_bound_and_the_next_one_stays(
    database: Database, tmp_path: Path
) -> None:
    filled(database, ["BTC"])
    due_ms = FEBRUARY.end_ms + 180 * DAY_MS
    assert {due.month for due in survey(database, ALL, due_ms - 1).months} == {JANUARY}
    apply(database, ALL, tmp_path, due_ms - 1)
    assert survey(database, ALL, due_ms - 1).is_empty
    with database.connection() as connection:
        march = retention.content(connection, "market_context", MARCH), contents(connection, MARCH)
        assert contents(connection, FEBRUARY)
    seen = {due.name for due in survey(database, ALL, due_ms).months}
    assert seen == {"quotes 2026-02", *(f"candles {interval} 2026-02" for interval in Interval)}
    apply(database, ALL, tmp_path, due_ms)
    assert survey(database, ALL, due_ms).is_empty
    with database.connection() as connection:
        assert (retention.content(connection, "market_context", MARCH), contents(connection, MARCH)) == march
        assert contents(connection, FEBRUARY) == []


def test_only_the_intervals_with_a_bound_go_and_the_others_stay_to_the_last_digit(
    database: Database, tmp_path: Path
) -> None:
    filled(database)
    with database.connection() as connection:
        others = [row for row in candles(connection) if row[1] != "1h"]
    apply(database, HOURS, tmp_path, LATER_MS)
    with database.connection() as connection:
        assert candles(connection) == others
        assert series.violations(connection) == []
        number = series_id(connection, "BTC", Interval.H4)
        connection.execute(  # the partition takes rows as before
            "update hl.candle set volume = 9 where series_id = %s and open_time >= %s",
            (number, to_datetime(FEBRUARY.start_ms)),
        )
    assert survey(database, HOURS, LATER_MS).is_empty


def test_what_analysts_read_are_exact_decimals_with_their_units(database: Database, tmp_path: Path) -> None:
    filled(database)
    apply(database, HOURS, tmp_path, LATER_MS)
    table = pyarrow.dataset.dataset(tmp_path / "candles", partitioning="hive").to_table()
    noise = [row for row in table.to_pylist() if row["open_time"] == to_datetime(FEBRUARY.start_ms + 5 * DAY_MS)]
    assert {(row["coin"], row["interval"], row["month"]) for row in noise} == {
        ("BTC", "1h", "2026-02"), ("ETH", "1h", "2026-02")
    }  # fmt: skip
    assert {format(row["volume"], "f") for row in noise} == {"0.000030000000000000004000"}
    schema = pq.read_schema(next(tmp_path.glob("candles/**/*.parquet")))
    assert (schema.field("volume").metadata or {})[b"unit"] == b"coins"
    manifest = json.loads(next(tmp_path.glob("candles/**/_manifest.json")).read_text())
    assert {"file", "rows", "sha256", "content"} <= manifest["files"][0].keys()


def spoiled(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path, Connection | None], None]) -> None:
    """Do something to the first file of each month, or beside it, between its export and the drop."""
    inner = engine._exported

    def wrapped(database: Database, folder: Path, *rest: Any) -> Any:
        files = inner(database, folder, *rest)
        with database.connection() as connection:
            act(folder / files[0].file, connection)
        return files

    monkeypatch.setattr(engine, "_exported", wrapped)


def flip_a_byte(path: Path, _: object) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [flip_a_byte, lambda path, _: path.unlink(), lambda path, _: path.write_bytes(b"")])
def test_a_file_that_was_harmed_refuses_the_drop(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path, object], None]
) -> None:
    filled(database, ["BTC"])
    with database.connection() as connection:
        before = candles(connection)
    spoiled(monkeypatch, harm)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert len(report.kept) == 3, "the last day of January, February, and two days of March"
    assert "is not what was read back" in report.kept[0]
    with database.connection() as connection:
        assert candles(connection) == before
        assert connection.execute(b"select count(*) from hl.export_file").fetchone() == (0,)
    monkeypatch.undo()
    assert apply(database, HOURS, tmp_path, LATER_MS).kept == []


def test_a_page_that_was_harmed_while_it_was_written_is_noticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database, ["BTC"])
    inner = parquet_export._write

    def wrapped(connection: Connection, aside: Path, *rest: Any) -> Any:
        rows = inner(connection, aside, *rest)
        flip_a_byte(aside, None)
        return rows

    monkeypatch.setattr(parquet_export, "_write", wrapped)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert report.files == []
    assert all("cannot be read back" in why for why in report.kept)
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24


def test_a_row_that_lands_between_export_and_drop_is_in_the_file_before_it_goes(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database, ["BTC"])
    exported = []

    def land(path: Path, connection: Connection | None) -> None:
        exported.append(path)
        if path.parent.name == "month=2026-02" and len(exported) == 2 and connection is not None:
            late_candle(connection, "BTC", Interval.H1, FEBRUARY.start_ms + 10 * DAY_MS + 1)

    spoiled(monkeypatch, land)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert report.kept == []
    february = [file for file in report.files if "month=2026-02" in file.file]
    assert february[0].rows == 28 * 24 + 1
    assert len(exported) == 4, "the month in which it landed was exported twice"
    assert len(list(tmp_path.glob("candles/interval=1h/month=2026-02/*.parquet"))) == 1, "the older file is gone"


def test_rows_that_never_stop_landing_keep_their_month(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database, ["BTC"])
    at = iter(range(FEBRUARY.start_ms + 1, FEBRUARY.start_ms + 100))

    def land(path: Path, connection: Connection | None) -> None:
        if "month=2026-02" in str(path) and connection is not None:
            late_candle(connection, "BTC", Interval.H1, next(at))

    spoiled(monkeypatch, land)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert len(report.kept) == 1
    assert "the rows are not those of the file: 1h: 674 rows in the file, 675 in the table, 3 times" in report.kept[0]
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24 + 3
        assert count(connection, Interval.H1, MARCH) == 0


@pytest.mark.parametrize("point", POINTS)
def test_a_retention_that_is_killed_loses_nothing_and_the_next_goes_on(
    database: Database, tmp_path: Path, point: str
) -> None:
    filled(database, ["BTC"])
    with database.connection() as connection:
        before, hashes = candles(connection), content_hashes(connection)
    command = [sys.executable, "-m", "hl_pipeline_tests.dying_retention", point, database.libpq_url, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    with database.connection() as connection:
        assert series.violations(connection) == []
        if point != "after a month's commit":
            assert candles(connection) == before
        else:
            assert len(candles(connection)) < len(before)

    assert apply(database, ALL, tmp_path, LATER_MS).kept == []
    assert exported_rows(tmp_path) == len(before), "no file is left that nobody refers to"
    assert not list(tmp_path.rglob("*.tmp"))
    for month in (JANUARY, FEBRUARY, MARCH):
        restore(database, tmp_path, month, LATER_MS, relation="candle")
    with database.connection() as connection:
        assert content_hashes(connection) == hashes


def test_coverage_revisions_and_what_they_refer_to_stay(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    asked = to_datetime(MARCH.start_ms)
    with database.connection() as connection:
        number = series_id(connection, "BTC", Interval.H1)
        for _ in range(4):
            connection.execute(FETCH, (to_datetime(FEBRUARY.start_ms), to_datetime(MARCH.start_ms), asked))
        connection.execute("update hl.candle set fetch_id = 9")
        connection.execute("update hl.candle set fetch_id = 1 where series_id = %s and open_time < %s",
                           (number, to_datetime(FEBRUARY.start_ms + DAY_MS)))  # fmt: skip
        connection.execute(REVISION, (number,))
        ledger = connection.execute(b"select * from hl.coverage order by series_id, month").fetchall()
        revisions = connection.execute(b"select * from hl.candle_revision").fetchall()
    fetches = Bounds(fetches_ms=180 * DAY_MS)
    seen = survey(database, fetches, LATER_MS)
    assert (seen.rows[0].rows, seen.fetches_judged) == (1, 4), "the fourth brought nothing that is still there"
    assert apply(database, fetches, tmp_path, LATER_MS).dropped == {"unreferenced fetches": 1}
    with database.connection() as connection:
        assert connection.execute(b"select fetch_id from hl.fetch order by 1").fetchall() == [(1,), (2,), (3,)]

    apply(database, replace(ALL, fetches_ms=180 * DAY_MS), tmp_path, LATER_MS)
    with database.connection() as connection:
        assert connection.execute(b"select fetch_id from hl.fetch order by 1").fetchall() == [(2,), (3,)]
        assert connection.execute(b"select * from hl.coverage order by series_id, month").fetchall() == ledger
        assert connection.execute(b"select * from hl.candle_revision").fetchall() == revisions


def test_readers_say_that_candles_were_exported_and_make_nothing_of_them(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    apply(database, HOURS, tmp_path, LATER_MS)
    key, span = SeriesKey("BTC", Interval.H1), Span(FEBRUARY.start_ms + 9 * DAY_MS, FEBRUARY.start_ms + 10 * DAY_MS)
    with database.connection() as connection:
        number = series_id(connection, "BTC", Interval.H1)
        (state,) = partitions.states(
            connection, Interval.H1, coins=["BTC"], month_starts_ms=[FEBRUARY.start_ms], now_ms=NOW_MS, settle_ms=0
        )
        assert (state.exported, state.rows, state.gap, state.is_whole) == (state.final, 0, 0, True)
        assert "exported to a file" in state.story
        connection.execute("insert into hl.fetch (endpoint, request_type, asked_at) values ('', '', %s)",
                           (to_datetime(NOW_MS),))  # fmt: skip
        connection.execute(
            "insert into hl.candle_revision values (%s, %s, 1, now(), 1, 1, 1, 1, 1, 1, 1, 'r', 'f')",
            (number, to_datetime(span.start_ms)),
        )
        assert asof.candles_asof(connection, key, span, LATER_MS) == [], "an older value would pass for the newest"
        # a candle before the hole, from which the hole could be filled
        connection.execute("select hl.ensure_partitions('candle', %s, %s)",
                           (to_datetime(JANUARY.start_ms), to_datetime(MARCH.start_ms)))  # fmt: skip
        connection.execute(
            "insert into hl.candle values (%s, %s, 1.5, 2, 1, 1.5, 3, 4, 1, 'r', 'f')",
            (number, to_datetime(FEBRUARY.start_ms + 8 * DAY_MS)),
        )
        assert read.candles(connection, key, span, fill=read.Fill.EMPTY) == []
        filled_up = read.candles(connection, key, span, fill=read.Fill.ALL)
    assert [candle.why for candle in filled_up] == ["exported"] * 24


def test_nothing_is_made_of_minutes_that_are_in_a_file(database: Database, tmp_path: Path) -> None:
    """An interval that is collected later finds its minutes settled, but their candles gone."""
    filled(database, ["BTC"])
    apply(database, Bounds(candles={Interval.M1: 180 * DAY_MS}), tmp_path, LATER_MS)
    span = Span(MARCH.start_ms, MARCH.start_ms + DAY_MS)
    with database.connection() as connection:
        number = series_id(connection, "BTC", Interval.H1)
        connection.execute("delete from hl.candle where series_id = %s", (number,))
        connection.execute("delete from hl.coverage where series_id = %s", (number,))
        assert derivation.upward(connection, number, span, 1, NOW_MS, 0) == [], "neither final nor proven empty"


def test_a_month_that_somebody_works_on_waits(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    with database.connection() as connection:
        connection.execute(
            "insert into hl.lease (series_id, month, lane, holder, held_until)"
            " values (%s, '2026-02-01', 'backfill', 'run', clock_timestamp() + interval '1 minute')",
            (series_id(connection, "BTC", Interval.H1),),
        )
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert report.kept == ["candles 2026-02: somebody works on it, the next run looks again"]
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24


def test_a_restored_month_stays_a_while_and_then_goes_again(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    apply(database, HOURS, tmp_path, LATER_MS)
    restore(database, tmp_path, FEBRUARY, LATER_MS, relation="candle", interval=Interval.H1)
    assert restore(database, tmp_path, FEBRUARY, LATER_MS, relation="candle") == {}, "it is back already"
    assert survey(database, HOURS, LATER_MS + 29 * DAY_MS).is_empty
    (due,) = survey(database, HOURS, LATER_MS + 30 * DAY_MS).months
    assert (due.name, due.rows) == ("candles 1h 2026-02", 28 * 24)
    apply(database, HOURS, tmp_path, LATER_MS + 30 * DAY_MS)
    with database.connection() as connection:
        assert contents(connection, FEBRUARY)
        assert count(connection, Interval.H1, FEBRUARY) == 0
        assert series.violations(connection) == []


def test_a_changed_file_is_not_loaded_again(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    apply(database, HOURS, tmp_path, LATER_MS)
    flip_a_byte(next(tmp_path.glob("candles/interval=1h/month=2026-02/*.parquet")), None)
    with pytest.raises(NeedsAPerson, match="not the file that was exported"):
        restore(database, tmp_path, FEBRUARY, LATER_MS, relation="candle")


@pytest.mark.parametrize("relation", ["candle", "market_context"])
def test_without_a_file_nothing_is_dropped(database: Database, relation: str) -> None:
    filled(database, ["BTC"])
    with pytest.raises(errors.RaiseException, match="nothing was exported"), database.connection() as connection:
        retention.drop(connection, relation, FEBRUARY, [], now_ms=LATER_MS)


def test_a_row_that_no_export_can_hold_keeps_its_month(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    with database.connection() as connection:
        connection.execute(
            "insert into hl.candle select 999, open_time, open, high, low, close, volume, trades, 1, 'r', 'f'"
            " from hl.candle where open_time >= %s order by open_time limit 1", (to_datetime(FEBRUARY.start_ms),)
        )  # fmt: skip
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert len(report.kept) == 1
    assert "holds rows of a series or market that is not known" in report.kept[0]
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24
        assert series.violations(connection) == []


def test_the_exports_of_another_database_stay_where_they_are(database: Database, tmp_path: Path) -> None:
    filled(database, ["BTC"])
    with database.connection() as connection:
        claim_venue(connection, "sandbox")
    apply(database, HOURS, tmp_path, LATER_MS)
    files = sorted(tmp_path.rglob("*.parquet"))
    assert files
    another = (
        "update hl.installation set venue = 'testnet'",
        "delete from hl.export_file",
        "delete from hl.exported_slots",
    )
    with database.connection() as connection:
        for statement in another:
            connection.execute(statement.encode())
        late_candle(connection, "BTC", Interval.H1, FEBRUARY.start_ms)
        before = candles(connection)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert sorted(tmp_path.rglob("*.parquet")) == files, "the only copy of what the first has dropped"
    assert "holds the exports of another database (sandbox, of " in report.kept[0]
    assert "HL_EXPORT_FOLDER" in report.kept[0]
    with database.connection() as connection:
        assert candles(connection) == before
    assert apply(database, HOURS, tmp_path / "own", LATER_MS).kept == []


def test_a_manifest_that_cannot_be_written_keeps_its_month_and_the_others_go(
    database: Database, tmp_path: Path
) -> None:
    filled(database, ["BTC"])
    (tmp_path / "candles" / "interval=1h" / "month=2026-02" / parquet_export.MANIFEST).mkdir(parents=True)
    report = apply(database, HOURS, tmp_path, LATER_MS)
    assert [why.partition(":")[0] for why in report.kept] == ["candles 2026-02"]
    assert "nothing was dropped" in report.kept[0]
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24
        assert count(connection, Interval.H1, MARCH) == count(connection, Interval.H1, JANUARY) == 0
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_folder_on_the_way_to_a_file_is_on_the_disk_before_its_rows_go(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database, ["BTC"])
    flushed: set[str] = set()
    inner = os.fsync

    def fsync(handle: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        inner(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    report = apply(database, HOURS, tmp_path / "a" / "b", LATER_MS)
    for file in report.files:
        # a folder that was just made is an entry in the one above it
        above = (tmp_path / "a" / "b" / file.file).relative_to(tmp_path).parents
        assert {str(tmp_path / folder) for folder in above} <= flushed


def test_two_retentions_do_not_meet(database: Database, tmp_path: Path) -> None:
    with retention.only_one(database), pytest.raises(AlreadyRunning, match="another retention"):
        apply(database, ALL, tmp_path, LATER_MS)
    apply(database, ALL, tmp_path, LATER_MS)
