from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.model.failure import DatabaseUnavailable, InvalidSetting, NeedsAPerson, SchemaMismatch
from hl_pipeline.storage import sql
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import check_schema, claim_venue, migrate, state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A small folder of scripts of this test's own: one table and one view on it."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "repeatable").mkdir()
    put(tmp_path, "migrations/V0001__first.sql", "create table hl.thing (a integer, b text)")
    put(tmp_path, "repeatable/R__things.sql", "create view hl.things as select a from hl.thing")
    return tmp_path


def put(scripts: Path, name: str, text: str) -> None:
    (scripts / name).write_text(f"-- {name}\n{text};\n")


def ask(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True, options="-c lock_timeout=5s") as connection:
        return connection.execute(question).fetchall()


def relations(url: str) -> set[object]:
    return {row[0] for row in ask(url, "select relname from pg_class where relnamespace = 'hl'::regnamespace")}


def check(url: str, scripts: Path) -> None:
    with psycopg.connect(url) as connection:
        check_schema(connection, scripts=scripts)


def test_an_empty_database_gets_every_file_once(empty_database_url: str) -> None:
    every = {path.name for room in ("migrations", "repeatable") for path in (sql.folder() / room).glob("*.sql")}
    first = migrate(empty_database_url)
    assert set(first.applied) == every
    assert len(first.applied) == len(every)
    assert first.took_ms > 0
    assert migrate(empty_database_url).applied == ()
    with psycopg.connect(empty_database_url) as connection:
        check_schema(connection)
        found = state(connection)
    assert found.pending == ()
    assert set(found.installed) == {path.name for path in (sql.folder() / "migrations").glob("*.sql")}


def test_every_file_of_ours_can_be_applied_again(empty_database_url: str) -> None:
    migrate(empty_database_url)
    ask(empty_database_url, "update hl.schema_repeatable set checksum = 'old' returning 1")
    again = migrate(empty_database_url)
    assert set(again.applied) == {path.name for path in (sql.folder() / "repeatable").glob("*.sql")}


def test_a_database_never_migrated_is_refused_with_the_next_step(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        with pytest.raises(SchemaMismatch, match="run `hl migrate`"):
            check_schema(connection)
        assert state(connection).installed == ()


def test_code_newer_than_the_database_is_refused_with_the_next_step(empty_database_url: str, scripts: Path) -> None:
    migrate(empty_database_url, scripts=scripts)
    put(scripts, "migrations/V0002__second.sql", "create table hl.second ()")
    with pytest.raises(SchemaMismatch, match=r"newer than the database: V0002__second\.sql .*run `hl migrate`"):
        check(empty_database_url, scripts)
    assert migrate(empty_database_url, scripts=scripts).applied == ("V0002__second.sql", "R__things.sql")
    check(empty_database_url, scripts)


def test_code_older_than_the_database_is_refused_and_changes_nothing(empty_database_url: str, scripts: Path) -> None:
    put(scripts, "migrations/V0002__second.sql", "create table hl.second ()")
    migrate(empty_database_url, scripts=scripts)
    (scripts / "migrations/V0002__second.sql").unlink()
    put(scripts, "repeatable/R__things.sql", "create view hl.things as select 'old code' as a")
    with pytest.raises(SchemaMismatch, match=r"older than the database: migration 2 \(second\)"):
        check(empty_database_url, scripts)
    with pytest.raises(SchemaMismatch, match="older than the database"):
        migrate(empty_database_url, scripts=scripts)
    assert ask(empty_database_url, "select a from hl.things") == []


def test_a_file_edited_after_it_was_applied_is_refused(empty_database_url: str, scripts: Path) -> None:
    migrate(empty_database_url, scripts=scripts)
    put(scripts, "migrations/V0001__first.sql", "create table hl.thing (a bigint, b text)")
    with pytest.raises(SchemaMismatch, match=r"V0001__first\.sql was edited"):
        migrate(empty_database_url, scripts=scripts)
    with pytest.raises(SchemaMismatch, match=r"V0001__first\.sql was edited"):
        check(empty_database_url, scripts)


def test_other_line_ends_are_no_edit(empty_database_url: str, scripts: Path) -> None:
    migrate(empty_database_url, scripts=scripts)
    first = scripts / "migrations/V0001__first.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    check(empty_database_url, scripts)


def test_a_failing_file_leaves_nothing_of_itself_and_keeps_what_came_before(
    empty_database_url: str, scripts: Path
) -> None:
    put(scripts, "migrations/V0002__second.sql", "create table hl.half (); select 1 / 0")
    with pytest.raises(NeedsAPerson, match=r"V0002__second\.sql cannot be applied: division by zero"):
        migrate(empty_database_url, scripts=scripts)
    assert "thing" in relations(empty_database_url)
    assert "half" not in relations(empty_database_url)
    put(scripts, "migrations/V0002__second.sql", "create table hl.half ()")
    assert migrate(empty_database_url, scripts=scripts).applied == ("V0002__second.sql", "R__things.sql")


@pytest.mark.parametrize("name", ["migrations/0002_second.sql", "repeatable/things.sql"])
def test_a_file_with_a_name_that_says_too_little_is_refused(empty_database_url: str, scripts: Path, name: str) -> None:
    put(scripts, name, "select 1")
    with pytest.raises(SchemaMismatch, match="rename it"):
        migrate(empty_database_url, scripts=scripts)


def test_views_may_change_their_columns_and_lean_on_each_other_in_any_order(
    empty_database_url: str, scripts: Path
) -> None:
    migrate(empty_database_url, scripts=scripts)
    put(scripts, "repeatable/R__a_first.sql", "create view hl.a_first as select hl.z_last(b) from hl.things")
    put(scripts, "repeatable/R__things.sql", "create materialized view hl.things as select b, a from hl.thing")
    put(
        scripts,
        "repeatable/R__z_last.sql",
        "create or replace function hl.z_last(t text) returns text language sql as 'select t'",
    )
    applied = migrate(empty_database_url, scripts=scripts).applied
    assert applied == ("R__things.sql", "R__z_last.sql", "R__a_first.sql")
    assert ask(empty_database_url, "select * from hl.a_first") == []


def test_a_migration_may_change_a_column_that_a_view_shows(empty_database_url: str, scripts: Path) -> None:
    migrate(empty_database_url, scripts=scripts)
    put(scripts, "migrations/V0002__wider.sql", "alter table hl.thing alter a type bigint")
    migrate(empty_database_url, scripts=scripts)
    assert ask(empty_database_url, "select pg_typeof(a)::text from hl.things union select 'bigint'") == [("bigint",)]


def test_a_view_whose_file_is_gone_is_gone(empty_database_url: str, scripts: Path) -> None:
    migrate(empty_database_url, scripts=scripts)
    (scripts / "repeatable/R__things.sql").unlink()
    migrate(empty_database_url, scripts=scripts)
    assert "things" not in relations(empty_database_url)
    check(empty_database_url, scripts)


def test_a_repeatable_file_that_needs_what_nobody_makes_says_so(empty_database_url: str, scripts: Path) -> None:
    put(scripts, "repeatable/R__lost.sql", "create view hl.lost as select * from hl.nowhere")
    with pytest.raises(NeedsAPerson, match=r'R__lost\.sql cannot be applied: relation "hl.nowhere" does not exist'):
        migrate(empty_database_url, scripts=scripts)
    assert "things" not in relations(empty_database_url)


def test_a_migration_killed_midway_leaves_nothing_and_the_next_run_succeeds(
    empty_database_url: str, scripts: Path
) -> None:
    put(scripts, "migrations/V0002__slow.sql", "create table hl.slow (); select pg_sleep(600)")
    program = (
        "import sys, pathlib; from hl_pipeline.storage.migrations import migrate;"
        " migrate(sys.argv[1], scripts=pathlib.Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", program, empty_database_url, str(scripts)], cwd=ROOT) as runner:
        sleeping = "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        while not ask(empty_database_url, sleeping):
            assert runner.poll() is None, "the runner ended before it could be killed"
        runner.send_signal(signal.SIGKILL)
    put(scripts, "migrations/V0002__slow.sql", "create table hl.slow ()")
    assert migrate(empty_database_url, scripts=scripts).applied == ("V0002__slow.sql", "R__things.sql")
    check(empty_database_url, scripts)


def test_of_several_runners_at_once_one_works_and_all_end_well(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(migrate, [empty_database_url] * 4))
    assert sorted(bool(report.applied) for report in reports) == [False, False, False, True]


def test_an_unreachable_server_is_a_reason_to_try_again() -> None:
    with pytest.raises(DatabaseUnavailable, match="refused") as failed:
        migrate("postgresql://somebody:canary-77@127.0.0.1:1/hl")
    assert "canary-77" not in str(failed.value)


def test_a_database_holds_one_venue_for_good(database: Database) -> None:
    with database.connection() as connection:
        claim_venue(connection, "sandbox")
    with database.connection() as connection:
        claim_venue(connection, "sandbox")
        with pytest.raises(InvalidSetting, match=r"HL_VENUE is live, but this database holds data of sandbox"):
            claim_venue(connection, "live")


def test_a_venue_that_was_claimed_while_we_waited_is_seen(database: Database) -> None:
    def claim_late() -> None:
        with database.connection() as second:
            claim_venue(second, "live")

    waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as thread:
        with database.connection() as first:
            claim_venue(first, "sandbox")
            late = thread.submit(claim_late)
            while not ask(database.libpq_url, waiting):
                assert not late.done()
        with pytest.raises(InvalidSetting, match="holds data of sandbox"):
            late.result(30)


def test_the_same_files_in_another_place_are_the_same_schema(tmp_path: Path, empty_database_url: str) -> None:
    shutil.copytree(sql.folder(), tmp_path / "sql")
    migrate(empty_database_url, scripts=tmp_path / "sql")
    with psycopg.connect(empty_database_url) as connection:
        check_schema(connection)
