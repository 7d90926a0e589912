"""``hl retention`` as a user types it: look first, then do it, then load a month again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hl_pipeline.model.interval import Interval
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run
from hl_pipeline_tests.exports import FEBRUARY, count, filled

pytestmark = pytest.mark.usefixtures("environ")
#: The stored world ends in March 2026; whoever runs this later than in September finds it old.
HOURS = "1h=62d"


@pytest.fixture
def old_world(database: Database, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Candles of spring 2026, seen from a year later; where exports go."""
    filled(database, ["BTC"])
    monkeypatch.setenv("HL_RETENTION_CANDLES", HOURS)
    monkeypatch.setenv("HL_CLOCK_OFFSET_MS", str(365 * 86_400_000))
    monkeypatch.setenv("HL_EXPORT_FOLDER", str(home / "export"))
    return home / "export"


def test_without_apply_it_only_says_what_is_due(run: Run, database: Database, old_world: Path) -> None:
    told = run("retention")
    assert told.exit_code == 0
    assert "candles 1h 2026-02" in told.output
    assert "672" in told.output
    assert "exported, read back, dropped" in told.output
    assert "this was a dry run" in told.output
    assert not old_world.exists()
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24


def test_apply_does_what_was_said_and_the_ledger_holds(run: Run, database: Database, old_world: Path) -> None:
    said = {line["kind"]: line["rows"] for line in json.loads(run("retention", "--json").output)["due"]}
    done = run("retention", "--apply", "--json")
    assert done.exit_code == 0
    dropped = json.loads(done.output)["report"]["dropped"]
    assert dropped["candles 1h"] == sum(rows for name, rows in said.items() if name.startswith("candles 1h"))
    assert json.loads(run("verify", "--json").output)["holds"]
    again = run("retention", "--apply")
    assert again.exit_code == 0
    assert "Nothing was dropped." in again.output
    assert len(list(old_world.glob("candles/interval=1h/*/*.parquet"))) == 3


def test_a_month_is_loaded_again_by_its_name(run: Run, database: Database, old_world: Path) -> None:
    before = json.loads(run("verify", "--json").output)["tables"]
    assert run("retention", "--apply").exit_code == 0
    for month in ("2026-01", "2026-02", "2026-03"):
        assert "rows are back" in run("retention", "restore", month, "--interval", "1h").output
    assert json.loads(run("verify", "--json").output)["tables"] == before
    assert "Nothing to load" in run("retention", "restore", "2026-02").output
    assert "672 rows" not in run("retention", "restore", "2026-02", "--quotes").output


@pytest.mark.parametrize("arguments", [("2026-13",), ("january",), ("2026-01", "--quotes", "--interval", "1h")])
def test_what_cannot_be_meant_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("retention", "restore", *arguments).exit_code == 2


def test_a_folder_that_cannot_be_written_keeps_the_month_and_says_so(
    run: Run, database: Database, old_world: Path
) -> None:
    old_world.write_text("a file where a folder should be")
    told = run("retention", "--apply")
    assert told.exit_code == 1
    assert "Nothing was dropped" in told.output
    with database.connection() as connection:
        assert count(connection, Interval.H1, FEBRUARY) == 28 * 24


def test_dagsters_records_are_looked_at_where_there_are_some(
    run: Run, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], empty_database_url: str
) -> None:
    monkeypatch.setenv("HL_DAGSTER_DATABASE_URL", empty_database_url)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert run("env").exit_code == 0, "it makes Dagster's home"
    (line,) = [line for line in json.loads(run("retention", "--json").output)["due"] if "Dagster" in line["kind"]]
    assert (line["rows"], line["bound_days"]) == (0, 7)


@pytest.mark.parametrize("month", ["9999-12", "2026-13", "january"])
def test_what_is_no_month_is_said_to_be_none(run: Run, month: str) -> None:
    told = run("retention", "restore", month)
    assert told.exit_code == 2
    assert f"{month!r} is no month: write it like 2026-01" in told.stderr


def test_a_month_of_which_no_file_is_away_leaves_nothing_behind(run: Run, database: Database) -> None:
    told = run("retention", "restore", "2031-01")
    assert told.exit_code == 0
    assert "Nothing to load" in told.output
    with database.connection() as connection:
        assert connection.execute(b"select to_regclass('hl.candle_2031_01')").fetchone() == (None,)


@pytest.mark.parametrize("option", ["--apply", "--json"])
def test_an_option_of_the_look_is_not_silently_passed_over_by_restore(run: Run, option: str) -> None:
    told = run("retention", option, "restore", "2026-01")
    assert told.exit_code == 2
    assert f"{option} does not go with restore" in told.stderr
