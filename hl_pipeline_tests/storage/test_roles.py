"""What each role may do, tried on a server of its own: state is compared, because some refusals are only warnings."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from hl_pipeline.collect.refresh import Refresh
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.read import Reader, about
from hl_pipeline.settings import Settings
from hl_pipeline.storage import latest_metrics
from hl_pipeline.storage.embedded import DAGSTER_DATABASE, EmbeddedPostgres, Server
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.roles import Login, login_url

#: Everything a reader could do on a fresh Postgres or might try, one statement each.
HOSTILE = """
insert into hl.market (coin, kind, sz_decimals, first_seen, last_seen) values ('X', 'perp', 1, now(), now())
update hl.market set coin = 'HACKED'
delete from hl.candle
delete from hl.market
truncate hl.candle
truncate hl.market cascade
merge into hl.market m using (select 1) s on true when matched then delete
insert into hl.candles select * from hl.candles
update hl.candles set close = 1
delete from hl.latest
refresh materialized view hl.latest_metrics
refresh materialized view concurrently hl.latest_metrics
lock table hl.candle in access exclusive mode
lock table hl.market in share mode
select * from hl.market for update
select * from hl.series for share
copy hl.market from program 'echo 1'
copy (select 1) to program 'touch /tmp/hl_reader_was_here'
copy (select 1) to '/tmp/hl_reader_was_here'
copy hl.market (coin) from stdin
create table hl.mine (a int)
create table public.mine (a int)
create temp table mine (a int)
create schema mine
create view hl.mine as select 1 as a
create materialized view hl.mine as select 1 as a
create function hl.mine() returns int language sql as 'select 1'
create function public.mine() returns int language sql as 'select 1'
create type hl.mine as (a int)
create domain hl.mine as int
create sequence hl.mine
create operator hl.=== (leftarg = int, rightarg = int, function = int4eq)
create index mine on hl.candle (close)
create statistics hl.mine on open, close from hl.candle
create trigger mine before insert on hl.market execute function suppress_redundant_updates_trigger()
create rule mine as on insert to hl.market do instead nothing
create policy mine on hl.alert to hl_reader using (true)
create extension pg_stat_statements
create extension postgres_fdw
create foreign data wrapper mine
create server mine foreign data wrapper mine
create publication mine for all tables
create subscription mine connection 'host=127.0.0.1' publication mine
create event trigger mine on ddl_command_end execute function suppress_redundant_updates_trigger()
create role mine superuser
create database mine
create tablespace mine location '/tmp'
create language mine
create cast (text as int) without function
alter table hl.market add column mine int
alter table hl.alert disable row level security
alter table hl.alert no force row level security
alter view hl.latest owner to hl_reader
alter schema hl owner to hl_reader
alter schema hl rename to mine
alter function hl.ensure_partitions(text, timestamptz, timestamptz) security invoker
alter database hl owner to hl_reader
alter database hl set work_mem = '1GB'
alter role hl_reader superuser
alter role hl_reader bypassrls
alter role hl_reader connection limit -1
alter role hl_admin password 'stolen'
alter role hl_writer login password 'stolen'
alter system set fsync = off
alter default privileges in schema hl grant all on tables to hl_reader
grant all on all tables in schema hl to hl_reader
grant hl_writer to hl_reader
grant hl_owner to hl_reader
grant pg_read_all_data to hl_reader
grant select on hl.alert to public
revoke all on hl.candle from hl_writer
reassign owned by hl_owner to hl_reader
drop owned by hl_owner
drop table hl.candle cascade
drop schema hl cascade
drop function hl.epoch_ms(timestamptz)
drop role hl_writer
drop database dagster
set role hl_writer
set role hl_owner
set session authorization hl_admin
comment on table hl.candle is 'mine'
security label on table hl.candle is 'mine'
vacuum hl.candle
vacuum full hl.candle
analyze hl.candle
cluster hl.market using market_pkey
reindex table hl.candle
reindex schema hl
checkpoint
load 'auto_explain'
do language plpgsql $$ begin delete from hl.candle; end $$
select lo_create(4711)
select lo_creat(-1)
select lo_from_bytea(0, 'x')
select lo_import('/etc/passwd')
select lo_unlink(1)
select pg_advisory_lock(1)
select pg_advisory_lock_shared(1)
select pg_try_advisory_lock(hashtextextended('hl_pipeline.migrations', 0))
select pg_advisory_xact_lock(1)
select pg_notify('run_events', '1')
select pg_logical_emit_message(false, 'mine', 'written to the log')
select pg_export_snapshot()
select pg_current_xact_id()
select txid_current()
select pg_terminate_backend(pid) from pg_stat_activity
select pg_cancel_backend(pid) from pg_stat_activity
select pg_reload_conf()
select pg_rotate_logfile()
select pg_switch_wal()
select pg_create_restore_point('mine')
select pg_create_physical_replication_slot('mine')
select pg_promote()
select pg_stat_reset()
select pg_read_file('/etc/passwd')
select pg_ls_dir('/')
select setval('hl.market_market_id_seq', 1)
select nextval('hl.market_market_id_seq')
select hl.ensure_partitions('candle', now() + interval '50 years', now() + interval '51 years')
select hl.retry_dead_letters()
select hl.hold_month('candle', '2026-01-01')
select hl.drop_exported('candle', '2026-01-01', '[]', now())
select hl.check_rate_limit('x', 1000, 'live')
select hl.settle_rate_limit(1, 0)
select hl.bury(1, '{[2020-01-01,2030-01-01)}', 'failed', now())
with gone as (delete from hl.candle returning *) select count(*) from gone
explain analyze delete from hl.candle
prepare mine as delete from hl.candle
select set_config('hl.mine', '1', false)
select query_to_xml('delete from hl.candle', true, true, '')
""".strip().splitlines()

#: Those of them that Postgres answers without an error; they warn, plan, or set something of the session.
HARMLESS = (
    "alter default privileges in schema hl grant all on tables to hl_reader",
    "analyze hl.candle",
    "grant select on hl.alert to public",
    "prepare mine as delete from hl.candle",
    "revoke all on hl.candle from hl_writer",
    "select set_config('hl.mine', '1', false)",
    "vacuum full hl.candle",
    "vacuum hl.candle",
)

#: All rows of ours, and of the catalogues whatever belongs to this database or to the roles; one hash a line.
_TABLES = """
select relname from pg_class where relnamespace = 'hl'::regnamespace and relkind in ('r', 'p', 'm') order by relname
"""
_CATALOGUES = (
    "select relnamespace::regnamespace, relname, relkind, relowner, relacl, relrowsecurity, relforcerowsecurity,"
    " relhastriggers, reloptions from pg_class where relnamespace::regnamespace::text !~ '^pg_(toast_)?temp' and"
    " relnamespace <> 'pg_toast'::regnamespace order by oid",
    "select oid, proname, proowner, proacl, prosecdef, proconfig, prosrc from pg_proc order by oid",
    "select * from pg_namespace where nspname !~ '^pg_(toast_)?temp' order by oid",
    "select oid, typname, typowner from pg_type where typnamespace = 'hl'::regnamespace order by oid",
    "select * from pg_policy order by oid",
    "select * from pg_trigger order by oid",
    "select * from pg_extension order by oid",
    "select * from pg_description where classoid = 'pg_class'::regclass order by objoid, objsubid",
    # anybody may say what others get of the objects he makes; a reader makes none
    "select * from pg_default_acl where defaclrole <> 'hl_reader'::regrole order by oid",
    "select rolname, rolsuper, rolcreaterole, rolcanlogin, rolbypassrls, rolconnlimit, rolpassword from pg_authid"
    " order by 1",
    "select * from pg_auth_members order by oid",
    "select * from pg_db_role_setting order by setdatabase, setrole",
    "select datname, datdba, datacl from pg_database order by oid",
    "select * from pg_replication_slots",
    "select * from pg_publication order by oid",
    "select sourceline, name, setting from pg_file_settings order by seqno",
    "select schemaname, sequencename, last_value from pg_sequences order by 1, 2",
)


@dataclass(frozen=True)
class Ours:
    server: Server
    home: Path

    def as_admin(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.server.dsn(), autocommit=True, options="-c lock_timeout=10s")

    @contextmanager
    def logged_in(self, login: Login) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with psycopg.connect(
            login_url(self.server, self.home, login), autocommit=True, connect_timeout=5
        ) as connection:
            connection.execute("set default_transaction_read_only = off")  # a default is no barrier
            yield connection

    def state(self) -> dict[str, str]:
        with self.as_admin() as admin:
            tables = [row[0] for row in admin.execute(_TABLES)]
            statements = {name: f"select * from hl.{name} as row order by row::text" for name in tables}
            statements |= {statement: statement for statement in _CATALOGUES}
            return {
                name: str(
                    admin.execute(
                        f"select md5(coalesce(string_agg(r::text, E'\\n'), '')) from ({text}) as r"
                    ).fetchone()
                )
                for name, text in statements.items()
            }

    def one(self, statement: str) -> Any:
        with self.as_admin() as admin:
            row = admin.execute(statement).fetchone()
            return None if row is None else row[0]


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    """A server with two markets' rows, and one row of each kind that only operators see."""
    home = Path(tempfile.mkdtemp(prefix="hl-roles-"))
    try:
        with EmbeddedPostgres(home) as server:
            migrate(server.dsn())
            ours = Ours(server, home)
            with ours.as_admin() as admin:
                for statement in _ROWS.split(";"):
                    admin.execute(statement)
            yield ours
    finally:
        shutil.rmtree(home, ignore_errors=True)


_ROWS = """
insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
values ('BTC', 'perp', 5, true, now(), now()), ('ETH', 'perp', 4, true, now(), now());
insert into hl.series (market_id, interval, step, tracked_from, known_until)
select market_id, '1h', interval '1 hour', '2026-01-01', '2026-01-01' from hl.market;
insert into hl.fetch (endpoint, request_type, asked_at, status, error)
values ('https://a', 'candleSnapshot', now(), 'landed', null), ('https://a', 'candleSnapshot', now(), 'failed', 'why');
select hl.ensure_partitions('candle', '2026-01-01', '2026-02-01');
insert into hl.candle (series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality)
select series_id, '2026-01-01', 1, 2, 1, 2, 3, 4, 1, 'r', 'f' from hl.series;
insert into hl.alert (fingerprint, severity, rule, summary, next_step, first_seen, last_seen)
values ('f', 'error', 'r', 's', 'n', now(), now());
insert into hl.system_health_log (logged_at, status, score, report) values (now(), 'healthy', 100, '{}');
refresh materialized view hl.latest_metrics
"""


#: 2026-01-01T00:00:00Z
JANUARY_MS = 1_767_225_600_000


class TestReader:
    def test_no_hostile_statement_changes_anything(self, ours: Ours) -> None:
        with ours.logged_in(Login.READER):
            pass  # the login exists now
        assert len(HOSTILE) >= 60
        before, passed = ours.state(), []
        for statement in HOSTILE:
            with psycopg.connect(_url(ours, Login.READER), autocommit=True, options="-c lock_timeout=5s") as reader:
                try:
                    reader.execute("set default_transaction_read_only = off")
                    reader.execute(statement)
                    passed.append(statement)
                except psycopg.Error:
                    continue
        after = ours.state()
        assert {name for name in before if before[name] != after.get(name)} == set()
        assert before.keys() == after.keys()
        assert ours.one("select count(*) from pg_largeobject_metadata") == 0
        assert ours.one("select count(*) from pg_locks where locktype = 'advisory'") == 0
        assert not Path("/tmp/hl_reader_was_here").exists()  # noqa: S108 what the statements try
        assert sorted(passed) == sorted(HARMLESS)

    @pytest.mark.parametrize("statement", ["select set_config('a.b', '1', false)", "select count(*) from hl.candles"])
    def test_the_harness_sees_what_passes(self, ours: Ours, statement: str) -> None:
        with ours.logged_in(Login.READER) as reader:
            assert reader.execute(statement).fetchone() is not None

    def test_the_hash_sees_a_change(self, ours: Ours) -> None:
        before = ours.state()
        with ours.as_admin() as admin:
            admin.execute("update hl.market set last_seen = now() + interval '1 day' where coin = 'ETH'")
            admin.execute("comment on table hl.gap is 'changed'")
        after = ours.state()
        assert {name for name in before if before[name] != after[name]} == {"market", _CATALOGUES[7]}

    def test_reads_candles_and_the_latest_metrics_but_not_what_they_are_made_of(self, ours: Ours) -> None:
        with ours.logged_in(Login.READER) as reader:
            assert reader.execute("select count(*) from hl.candles").fetchone() == (2,)
            assert (reader.execute("select count(*) from hl.latest").fetchone() or (0,))[0] > 0
            assert reader.execute("select status from hl.fetch").fetchall() == [("landed",)]
            for hidden in ("hl.latest_metrics", "hl.rate_limit", "hl.lease", "hl.installation"):
                with pytest.raises(errors.InsufficientPrivilege):
                    reader.execute(f"select * from {hidden}")

    @pytest.mark.parametrize("login", [Login.READER, Login.OPERATOR])
    def test_reads_through_the_front_door_which_asks_nothing_of_the_exchange_for_it(
        self, ours: Ours, login: Login
    ) -> None:
        with Database(login_url(ours.server, ours.home, login)) as database:
            reader = Reader(Settings.load({"HL_VENUE": "sandbox"}), database=database)
            table = reader.candles("BTC", "1h", JANUARY_MS, SystemClock().now_ms())
            reader.close()
        assert table.num_rows == 1
        assert about(table).missing > 0
        assert about(table).refresh is Refresh.NOT_ALLOWED

    def test_sees_no_row_that_is_for_operators(self, ours: Ours) -> None:
        with ours.logged_in(Login.READER) as reader, ours.logged_in(Login.OPERATOR) as operator:
            for table in ("alert", "system_health_log"):
                counted = f"select count(*) from hl.{table}"
                assert reader.execute(counted).fetchone() == (0,)
                assert operator.execute(counted).fetchone() == (1,)
            assert operator.execute("select count(*) from hl.fetch").fetchone() == (2,)

    @pytest.mark.parametrize("name", [DAGSTER_DATABASE, "postgres", "template1"])
    def test_has_no_way_into_the_servers_other_databases(self, ours: Ours, name: str) -> None:
        with ours.logged_in(Login.READER):
            pass
        url = _url(ours, Login.READER).replace("/hl?", f"/{name}?")
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url)

    def test_what_it_makes_of_its_own_login_is_put_right_by_the_next_url(self, ours: Ours) -> None:
        with ours.logged_in(Login.READER) as reader:
            reader.execute("alter role hl_reader set statement_timeout = 0")
            reader.execute("alter role hl_reader password 'taken over'")
        with ours.logged_in(Login.READER) as reader:
            assert reader.execute("show statement_timeout").fetchone() == ("1min",)


class TestWriter:
    @pytest.mark.parametrize(
        "statement",
        [
            "create table hl.mine (a int)",
            "alter table hl.candle add column mine int",
            "drop table hl.gap",
            "truncate hl.candle",
            "truncate hl.alert",
            "create policy mine on hl.alert using (true)",
            "drop policy writers_write on hl.alert",
            "alter table hl.alert disable row level security",
            "create function hl.mine() returns int language sql as 'select 1'",
            "create schema mine",
            "create role mine",
            "update hl.schema_version set checksum = ''",
            "update hl.installation set venue = 'live'",
            "set role hl_owner",
            "select lo_create(0)",
            "select rolpassword from pg_authid",
            "select hl.ensure_partitions('alert', now(), now() + interval '1 day')",
        ],
    )
    def test_makes_drops_and_empties_nothing(self, ours: Ours, statement: str) -> None:
        before = ours.state()
        with ours.logged_in(Login.WRITER) as writer:
            between = ours.state()
            with pytest.raises((errors.InsufficientPrivilege, errors.RaiseException)):
                writer.execute(statement)
        assert ours.state() == between
        assert before.keys() == between.keys()

    def test_does_the_pipelines_work(self, ours: Ours) -> None:
        with Database(login_url(ours.server, ours.home, Login.WRITER)) as database:
            with database.connection() as writer:
                made = writer.execute("select hl.ensure_partitions('candle', '2031-01-01', '2031-02-01')").fetchone()
                assert made == (1,)
                writer.execute("create temp table staging (a int)")
                writer.execute("truncate staging")
                writer.execute("update hl.alert set times_seen = times_seen + 1")
                writer.execute("select pg_advisory_xact_lock(1)")
                writer.execute("analyze hl.candle")
            with database.autocommit() as writer:
                latest_metrics.refresh(writer)

    def test_statistics_of_a_new_month_are_kept_too(self, ours: Ours) -> None:
        with ours.logged_in(Login.WRITER) as writer:
            writer.execute("select hl.ensure_partitions('candle', '2032-01-01', '2032-02-01')")
            said: list[str] = []
            writer.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
            writer.execute("analyze hl.candle")
            assert said == []


class TestOperator:
    def test_may_retry_and_tune_and_nothing_else(self, ours: Ours) -> None:
        with ours.logged_in(Login.OPERATOR) as operator:
            assert operator.execute("select hl.retry_dead_letters()").fetchone() == (0,)
            operator.execute("update hl.failure_kind set max_attempts = max_attempts")
            for statement in ("delete from hl.candle", "update hl.gap set attempts = 0", "truncate hl.failure_kind"):
                with pytest.raises(errors.InsufficientPrivilege):
                    operator.execute(statement)


class TestMigrate:
    def test_brings_the_schema_up_to_date_without_being_a_superuser(self, ours: Ours) -> None:
        with ours.as_admin() as admin:
            admin.execute("delete from hl.schema_repeatable")  # everything is applied again
        report = migrate(login_url(ours.server, ours.home, Login.MIGRATE))
        assert "R__zz_grants.sql" in report.applied
        with ours.logged_in(Login.READER) as reader:
            assert reader.execute("select count(*) from hl.candles").fetchone() == (2,)


class TestTheCatalogues:
    def test_nothing_of_ours_is_open_to_everybody(self, ours: Ours) -> None:
        assert (
            ours.one(
                "select array_agg(oid::regprocedure::text) from pg_proc where pronamespace = 'hl'::regnamespace"
                " and has_function_privilege('public', oid, 'execute')"
            )
            is None
        )
        assert (
            ours.one(
                "select array_agg(relname) from pg_class where relnamespace = 'hl'::regnamespace and relkind in"
                " ('r', 'p', 'v', 'm') and has_table_privilege('public', oid, 'select,insert,update,delete,truncate')"
            )
            is None
        )
        assert (
            ours.one(
                "select array_agg(nspname) from pg_namespace where nspname in ('hl', 'public')"
                " and has_schema_privilege('public', oid, 'usage,create')"
            )
            is None
        )
        assert ours.one("select has_database_privilege('public', 'hl', 'connect,create,temporary')") is False

    def test_a_function_made_later_is_not_open_to_everybody(self, ours: Ours) -> None:
        with ours.as_admin() as admin, admin.transaction(force_rollback=True):
            admin.execute("create function hl.later() returns int language sql as 'select 1'")
            assert admin.execute("select has_function_privilege('public', 'hl.later()', 'execute')").fetchone() == (
                False,
            )

    def test_every_function_with_its_owners_rights_has_a_fixed_search_path_and_no_superuser_as_owner(
        self, ours: Ours
    ) -> None:
        with ours.as_admin() as admin:
            found = admin.execute(
                "select proname, proconfig, rolsuper from pg_proc join pg_roles on pg_roles.oid = proowner"
                " where prosecdef and pronamespace = 'hl'::regnamespace order by proname"
            ).fetchall()
        names = [name for name, _, _ in found]
        assert names == ["drop_exported", "ensure_partitions", "hold_month", "retry_dead_letters"]
        for _, settings, is_superuser in found:
            assert "search_path=pg_catalog, hl, pg_temp" in settings
            assert not is_superuser

    def test_everything_belongs_to_the_owner_who_cannot_log_in(self, ours: Ours) -> None:
        assert (
            ours.one(
                "select array_agg(relname) from pg_class where relnamespace = 'hl'::regnamespace"
                " and relowner <> 'hl_owner'::regrole"
            )
            is None
        )
        assert ours.one("select rolcanlogin or rolsuper from pg_roles where rolname = 'hl_owner'") is False


def test_passwords_are_kept_for_their_owner_alone_and_stay_the_same(ours: Ours) -> None:
    first = login_url(ours.server, ours.home, Login.READER)
    assert login_url(ours.server, ours.home, Login.READER) == first
    for login in Login:
        login_url(ours.server, ours.home, login)
        assert stat.S_IMODE((ours.home / f"pg.{login}.password").stat().st_mode) == 0o600
    kept = {(ours.home / f"pg.{login}.password").read_text() for login in Login}
    assert len(kept) == len(Login)
    logs = "".join(path.read_text(errors="replace") for path in (ours.home / "log").iterdir())
    assert not [password for password in kept if password.strip() in logs]


def test_a_user_who_may_make_no_roles_migrates_as_before(ours: Ours) -> None:
    with ours.as_admin() as admin:
        admin.execute("create role plain login password 'plain'")
        admin.execute("create database plain owner plain")
    url = ours.server.dsn("plain").replace(f"hl_admin:{ours.server.password}", "plain:plain")
    migrate(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from hl.candles").fetchone() == (0,)
        assert connection.execute("select has_database_privilege('public', 'plain', 'connect')").fetchone() == (False,)


def _url(ours: Ours, login: Login) -> str:
    password = (ours.home / f"pg.{login}.password").read_text().strip()
    return f"postgresql://hl_{login}:{password}@127.0.0.1:{ours.server.port}/hl?sslmode=disable"
