from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from sqlalchemy.engine import make_url

from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database, create_database_if_missing

NOWHERE = "postgresql://somebody:canary-77@127.0.0.1:1/hl"


def venues(database: Database) -> list[tuple[object, ...]]:
    with database.connection() as connection:
        return connection.execute("select venue from hl.installation").fetchall()


def test_a_connection_commits_at_the_end_of_its_block(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("insert into hl.installation (venue) values ('sandbox')")
    assert venues(database) == [("sandbox",)]


def test_a_connection_rolls_back_when_its_block_raises(database: Database) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), database.connection() as connection:
        connection.execute("insert into hl.installation (venue) values ('sandbox')").connection.execute("select 1 / 0")
    assert venues(database) == []


def test_autocommit_keeps_each_statement_whatever_follows(database: Database) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), database.autocommit() as connection:
        connection.execute("insert into hl.installation (venue) values ('sandbox')").connection.execute("select 1 / 0")
    assert venues(database) == [("sandbox",)]
    with database.connection() as connection:
        assert not connection.autocommit


def test_every_session_has_limits_a_name_and_utc(database: Database) -> None:
    settings = {
        "TimeZone": "UTC",
        "application_name": "test",
        "statement_timeout": "5min",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "5min",
    }
    with database.connection() as connection:
        shown = {name: connection.execute("select current_setting(%s)", (name,)).fetchone() for name in settings}
    assert shown == {name: (value,) for name, value in settings.items()}


def test_pandas_reads_through_the_engine_in_utc(database: Database) -> None:
    engine = database.engine()
    try:
        frame = pd.read_sql(
            "select timestamptz '2026-01-01 00:00+00' as at, current_setting('TimeZone') as zone", engine
        )
    finally:
        engine.dispose()
    assert frame["zone"].tolist() == ["UTC"]
    assert frame["at"].tolist() == [pd.Timestamp("2026-01-01", tz="UTC")]


def test_a_connection_the_server_closed_is_not_lent_again(database: Database) -> None:
    with database.connection() as connection:
        old = connection.info.backend_pid
    with psycopg.connect(database.libpq_url, autocommit=True) as administrator:
        administrator.execute("select pg_terminate_backend(%s, 5000)", (old,))
    with database.connection() as connection:
        assert connection.info.backend_pid != old


def test_a_connection_cut_inside_its_block_is_a_reason_to_try_again(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="broke off"), database.connection() as connection:
        connection.execute("select pg_terminate_backend(pg_backend_pid())")
    assert venues(database) == []


@pytest.mark.parametrize("way", ["connection", "autocommit"])
def test_a_full_disk_is_a_reason_to_try_again_and_says_what_to_do(database: Database, way: str) -> None:
    full = """do $$ begin raise exception using errcode = 'disk_full', message =
        'could not extend file "base/1/2": No space left on device', hint = 'Check free disk space.'; end $$"""
    room = r"/\w+ has no room on its disk: could not extend file .*: No space left on device; .* Make room there"
    with pytest.raises(DatabaseUnavailable, match=room) as failed, getattr(database, way)() as connection:
        connection.execute(full)
    assert "\n" not in str(failed.value)
    assert venues(database) == []


def test_a_statement_that_waits_too_long_for_a_lock_keeps_its_own_error(database: Database) -> None:
    impatient = Database(database.libpq_url, lock_timeout_ms=1)
    with impatient, database.connection() as holder:
        holder.execute("lock hl.installation")
        with pytest.raises(psycopg.errors.LockNotAvailable), impatient.connection() as connection:
            connection.execute("lock hl.installation")


def test_an_unreachable_server_is_named_without_the_password() -> None:
    database = Database(NOWHERE)
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/hl cannot be reached: .*refused") as failed:
        database.connection().__enter__()
    assert "canary-77" not in str(failed.value)
    assert "canary-77" not in repr(database)


def test_a_busy_pool_says_so(database: Database) -> None:
    small = Database(database.libpq_url, max_connections=1, connect_timeout_seconds=1)
    with small, small.connection(), pytest.raises(DatabaseUnavailable, match=r"all 1 connections .* stayed busy"):
        small.connection().__enter__()


def test_a_closed_database_may_be_used_again(database: Database) -> None:
    assert venues(database) == []
    database.close()
    database.close()
    assert venues(database) == []


def test_one_url_is_spelt_for_each_of_its_users() -> None:
    database = Database("postgresql://user:p%40ss%2Fword@db.example:6000/hl?sslmode=verify-full")
    assert database.libpq_url == "postgresql://user:p%40ss%2Fword@db.example:6000/hl?sslmode=verify-full"
    assert database.psycopg_url == "postgresql+psycopg://user:p%40ss%2Fword@db.example:6000/hl?sslmode=verify-full"
    assert (
        database.dagster_url
        == "postgresql+psycopg2://user:p%40ss%2Fword@db.example:6000/hl_dagster?sslmode=verify-full"
    )
    assert make_url(database.dagster_url).password == "p@ss/word"  # noqa: S105 made up here
    assert database.address == "db.example:6000/hl"


def test_dagsters_database_may_be_named() -> None:
    database = Database("postgresql://user@db.example/hl", dagster_url="postgresql://dagster@other.example/events")
    assert database.dagster_url == "postgresql+psycopg2://dagster@other.example/events"


def test_a_socket_folder_survives_all_spellings() -> None:
    database = Database("postgresql:///hl?host=/run/postgresql")
    assert database.libpq_url == "postgresql:///hl?host=%2Frun%2Fpostgresql"
    assert make_url(database.dagster_url).query == {"host": "/run/postgresql"}
    assert database.name == "hl"


def test_dagster_records_an_event_through_its_url(database: Database) -> None:
    """With the bare scheme and SQLAlchemy 2.1 its tables are made, and then no event can be stored."""
    from dagster import DagsterEvent, DagsterEventType, EventLogEntry
    from dagster_postgres.event_log import PostgresEventLogStorage

    named = Database(database.libpq_url, dagster_url=database.libpq_url)
    storage = PostgresEventLogStorage.create_clean_storage(named.dagster_url)
    event = DagsterEvent(DagsterEventType.PIPELINE_START.value, job_name="a_job", message="it began")
    entry = EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None, level=20, user_message="", run_id="a-run", timestamp=1.0, dagster_event=event, job_name="a_job"
    )
    try:
        storage.store_event(entry)
        assert [stored.user_message or stored.message for stored in storage.get_logs_for_run("a-run")] == ["it began"]
    finally:
        storage.dispose()


def test_a_missing_database_is_made_once(database: Database) -> None:
    extra = f"{database.name}_dagster"
    try:
        assert create_database_if_missing(database.dagster_url)
        assert not create_database_if_missing(database.dagster_url)
        with psycopg.connect(database.libpq_url, dbname=extra) as connection:
            assert connection.info.dbname == extra
    finally:
        with psycopg.connect(database.libpq_url, autocommit=True) as administrator:
            administrator.execute(f"drop database {extra} with (force)")


def test_making_a_database_on_an_unreachable_server_is_a_reason_to_try_again() -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as failed:
        create_database_if_missing(NOWHERE)
    assert "canary-77" not in str(failed.value)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path)
    yield postgres
    postgres.stop()


def test_the_same_database_object_works_on_after_a_restart_of_the_server(own_server: EmbeddedPostgres) -> None:
    database = Database(own_server.start().dsn(), connect_timeout_seconds=1)
    with database:
        with database.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        own_server.stop()
        with pytest.raises(DatabaseUnavailable):
            database.connection().__enter__()
        own_server.start()
        with database.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
