"""Which storage Dagster is given: the one named, the database's own, or SQLite when nothing runs."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy.engine import make_url

from hl_pipeline.defs import storage
from hl_pipeline.defs.launch import instance_file
from hl_pipeline.model.failure import InvalidSetting


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in (storage.URL_VARIABLE, "HL_DATABASE_URL", "HL_DAGSTER_DATABASE_URL", "HL_VENUE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HL_HOME", str(tmp_path / "hl"))
    return monkeypatch


@dg.asset
def something() -> None:
    """Whatever."""


def recorded(home: Path) -> str:
    """Materialize an asset on the instance that the project's dagster.yaml describes; which storage kept it."""
    (home / "dagster.yaml").write_bytes(instance_file().read_bytes())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        result = dg.materialize([something], instance=instance)
        assert instance.get_latest_materialization_event(something.key) is not None
        assert instance.get_run_by_id(result.run_id) is not None
        return type(instance.event_log_storage).__name__


def test_without_a_database_records_go_to_sqlite_under_the_home(
    nothing_set: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "Sqlite" in recorded(tmp_path)
    assert (tmp_path / "hl" / "live" / "dagster_sqlite").is_dir()
    assert isinstance(storage._chosen(), DagsterSqliteStorage)
    assert "no Postgres is running" in caplog.text


def test_the_named_storage_is_used(nothing_set: pytest.MonkeyPatch, tmp_path: Path, empty_database_url: str) -> None:
    url = make_url(empty_database_url).set(drivername="postgresql+psycopg2")
    nothing_set.setenv(storage.URL_VARIABLE, url.render_as_string(hide_password=False))
    assert recorded(tmp_path) == "PostgresEventLogStorage"


def test_the_settings_database_keeps_dagsters_records_in_a_database_of_their_own(
    nothing_set: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    nothing_set.setenv("HL_DATABASE_URL", empty_database_url)
    nothing_set.setenv("HL_DAGSTER_DATABASE_URL", empty_database_url)
    chosen = storage._chosen()
    assert isinstance(chosen, DagsterPostgresStorage)
    assert chosen.postgres_url.startswith("postgresql+psycopg2://")


def test_a_driver_with_which_no_run_is_recorded_is_refused(nothing_set: pytest.MonkeyPatch) -> None:
    nothing_set.setenv(storage.URL_VARIABLE, "postgresql://hl@127.0.0.1/dagster")
    with pytest.raises(InvalidSetting, match=r"psycopg2://"):
        storage._chosen()
