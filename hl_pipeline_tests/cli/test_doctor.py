"""``hl doctor``: each line can be well, and each can be ill; looking changes nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from hl_pipeline.cli.doctor import database as on
from hl_pipeline.cli.doctor import machine
from hl_pipeline.cli.doctor.exchange import on_clock
from hl_pipeline.cli.doctor.finding import Finding, Level, looked
from hl_pipeline.cli.prepare import prepare
from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.health.machinery import ESSENTIAL
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.vitals import DagsterVitals, UnfinishedRuns
from hl_pipeline.settings import Settings
from hl_pipeline.storage import checkup
from hl_pipeline.storage.checkup import ServerState, most_connections
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline.storage.overview import content_hashes
from hl_pipeline.storage.postmaster import CONFIGURATION
from hl_pipeline_tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("HL_", "DAGSTER_")) and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HL_UI_PORT", str(free_port()))


@pytest.fixture
def installation(environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As the first `hl up` leaves it."""
    monkeypatch.setenv("HL_UI_PORT", str(free_port()))
    for name in ("DAGSTER_HOME", "DAGSTER_STORAGE_URL", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")  # so that what `prepare` sets is forgotten
    create_database_if_missing(database.dagster_url.replace("+psycopg2", ""))
    with database.connection() as connection:
        connection.execute(b"insert into hl.installation (venue) values ('sandbox')")
    prepare(Settings.load())
    yield
    with psycopg.connect(database.libpq_url, autocommit=True) as connection:
        dagster = sql.Identifier(f"{database.name}_dagster")
        connection.execute(sql.SQL("drop database {} with (force)").format(dagster))


def examined(run: Run) -> tuple[int, dict[str, list[tuple[str, str, str]]]]:
    """The exit code, and (level, text, step) of each line by its name."""
    result = run("doctor", "--json")
    document = json.loads(result.stdout)
    lines: dict[str, list[tuple[str, str, str]]] = {}
    for line in document["findings"]:
        lines.setdefault(line["name"], []).append((line["level"], line["text"], line["step"]))
    assert document["ok"] is (result.exit_code == 0)
    assert all(line["step"] for line in document["findings"] if line["level"] != "ok")
    return result.exit_code, lines


def levels(lines: dict[str, list[tuple[str, str, str]]], *names: str) -> list[str]:
    return [line[0] for name in names for line in lines[name]]


def test_a_sound_installation_has_no_line_that_fails_and_is_left_as_it_was(
    run: Run, installation: None, database: Database, home: Path
) -> None:
    def state() -> object:
        with database.connection() as connection:
            spent = connection.execute(b"select count(*) from hl.rate_limit_spend").fetchone()
            return content_hashes(connection), spent, sorted(map(str, home.rglob("*")))

    before = state()
    code, lines = examined(run)
    assert state() == before
    assert code == 0
    assert (
        levels(lines, "python", "settings", "limits", "home", "dagster home", "interface", "web interface port")
        == ["ok"] * 7
    )
    assert levels(lines, "exchange", "clock", "database", "postgres version", "rights", "schema", "venue") == ["ok"] * 7
    assert levels(lines, "locks", "work", "dagster storage", "runs") == ["ok"] * 4
    assert levels(lines, "alert channels", "daemon") == ["warn"] * 2
    assert "never ran" in lines["daemon"][0][1]
    shown = run("doctor")
    assert shown.exit_code == 0
    assert "that fail." in shown.stdout


def test_nothing_installed_yet_is_said_with_what_to_start(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_HOME", str(home / "none"))
    monkeypatch.setenv("HL_VENUE", "sandbox")
    monkeypatch.setenv("HL_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    code, lines = examined(run)
    assert code == 1
    assert lines["exchange"][0][2] == "start it: hl sandbox"
    assert lines["database"] == [
        (
            "warn",
            f"no Postgres runs in {home}/none/sandbox",
            "`hl up` starts it (so does `hl db start`); then ask again",
        )
    ]
    assert levels(lines, "embedded postgres", "home") == ["ok", "ok"]
    assert not (home / "none").exists()


def test_settings_that_are_wrong_are_a_line_each_and_hide_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_PROFILE", "hasty")
    monkeypatch.setenv("HL_UI_PASSWORD", "swordfish")
    code, lines = examined(run)
    assert code == 1
    assert len(lines["settings"]) == 2
    assert "HL_PROFILE" in lines["settings"][0][1]
    assert "swordfish" not in str(lines)
    assert "database" not in lines


def test_a_database_that_is_away_another_venues_and_an_older_schema_fail(
    run: Run, installation: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connection() as connection:
        connection.execute(b"update hl.installation set venue = 'live'")
        connection.execute(
            b"delete from hl.schema_version where version = (select max(version) from hl.schema_version)"
        )
        connection.execute(
            b"insert into hl.fetch (endpoint, request_type, asked_at, recorded_at)"
            b" values ('', 'candleSnapshot', now(), now() - interval '1 hour')"
        )
    code, lines = examined(run)
    assert code == 1
    assert levels(lines, "venue", "schema", "work") == ["fail", "fail", "warn"]
    assert "HL_VENUE=live" in lines["venue"][0][2]
    assert "hl migrate" in lines["schema"][0][2]
    monkeypatch.setenv("HL_DATABASE_URL", f"postgresql://someone:sesame@127.0.0.1:{free_port()}/hl")
    code, lines = examined(run)
    assert levels(lines, "database") == ["fail"]
    assert "sesame" not in str(lines)


def test_a_login_that_may_only_read_fails(run: Run, installation: None, database: Database) -> None:
    with database.connection() as connection:
        connection.execute(b"create role hl_test_looker login password 'only-looks'")
        connection.execute(b"grant hl_reader to hl_test_looker")
    url = database.libpq_url.split("@", 1)[1]
    try:
        os.environ["HL_DATABASE_URL"] = f"postgresql://hl_test_looker:only-looks@{url}"
        code, lines = examined(run)
    finally:
        with database.connection() as connection:
            connection.execute(b"drop role hl_test_looker")
    assert code == 1
    assert levels(lines, "rights") == ["fail"]
    assert lines["rights"][0][1] == "hl_test_looker may not write the pipeline's rows"


def test_a_session_that_holds_others_up_is_named(
    run: Run, installation: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "_IDLE", timedelta(0))
    with psycopg.connect(database.libpq_url, application_name="forgotten") as idle:
        idle.execute("select 1")
        code, lines = examined(run)
        ((level, text, step),) = lines["locks"]
        assert (code, level) == (0, "warn")
        assert f"forgotten (pid {idle.info.backend_pid}) idle in a transaction for " in text
        assert step == f"end what hangs: select pg_terminate_backend({idle.info.backend_pid})"


def test_a_taken_port_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (found,) = machine.on_ports(Settings(ui_port=taken.getsockname()[1]))
    assert found.level is Level.FAIL
    assert "another program listens there" in found.text


def test_dagsters_tables_of_another_revision_fail() -> None:
    assert on.on_revision("a", "a").level is Level.OK
    assert on.on_revision("a", "b").level is Level.FAIL
    assert "dagster instance migrate" in on.on_revision(None, "b").step


def records(**given: object) -> DagsterVitals:
    sound = {"silent_s": {"SCHEDULER": 5.0}, "ailing": (), "unfinished": (), "failing": (), "failed": 0}
    return DagsterVitals(**{**sound, "switched_on": ESSENTIAL, **given})  # type: ignore[arg-type]


def test_a_daemon_that_is_silent_or_has_nothing_to_do_warns() -> None:
    assert on.on_daemon(records()).level is Level.OK
    assert "never ran" in on.on_daemon(records(silent_s={})).text
    assert "last spoke 400 s ago" in on.on_daemon(records(silent_s={"SENSOR": 400.0})).text
    off = on.on_daemon(records(switched_on=ESSENTIAL - {"deliver_alerts"}))
    assert (off.level, off.step) == (Level.WARN, "hl start deliver_alerts")


def test_runs_that_outlive_their_state_look_dead() -> None:
    honest = UnfinishedRuns("collect", "STARTED", 1, 3000.0)
    assert on.on_runs(records(unfinished=(honest,))).level is Level.OK
    dead = UnfinishedRuns("collect", "STARTED", 2, 9000.0)
    found = on.on_runs(records(unfinished=(honest, dead)))
    assert found.level is Level.WARN
    assert "2 of collect started for 9000 s" in found.text


@pytest.mark.parametrize(("number", "level"), [(130_011, "fail"), (160_004, "warn"), (180_006, "ok")])
def test_old_servers_are_named(number: int, level: str) -> None:
    assert on.on_version("x", number).level == level


@pytest.mark.parametrize(("most", "level"), [(30, "fail"), (60, "warn"), (100, "ok")])
def test_a_server_must_take_all_that_we_may_hold(most: int, level: str) -> None:
    state = ServerState("18.6", 180_006, "hl", most, 3, used=12, ours=10)
    assert on.on_room(state, 4, interfaces=1).level == level


def test_the_embedded_server_takes_all_that_we_may_hold_whatever_is_set() -> None:
    assert sum(most_connections(16, interfaces=2).values()) + 3 <= int(CONFIGURATION["max_connections"])


@pytest.mark.parametrize(("may_write", "may_make", "level"), [
    (True, False, "ok"), (None, True, "ok"), (None, False, "fail"), (False, True, "fail"),
])  # fmt: skip
def test_rights_are_to_write_or_on_an_empty_database_to_make(
    may_write: bool | None, may_make: bool, level: str
) -> None:
    assert on.on_rights("somebody", may_write, may_make).level == level


@pytest.mark.parametrize(("skew_ms", "level"), [(0, "ok"), (-1999, "ok"), (2001, "warn"), (-30_001, "fail")])
def test_a_clock_that_is_off_is_named(skew_ms: int, level: str) -> None:
    assert on_clock(skew_ms).level == level


@pytest.mark.parametrize(("version", "level"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fail")])
def test_only_tested_pythons_are_well(version: tuple[int, int], level: str) -> None:
    assert machine.on_python(version).level == level


LOCK = """alpha==1.0 \\
    --hash=sha256:0
beta==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:0
gamma==3.0 ; python_full_version < '3.12' \\
    --hash=sha256:0
gamma==3.1 ; python_full_version >= '3.12' \\
    --hash=sha256:0
"""


@pytest.mark.parametrize(("installed", "level", "said"), [
    ({"alpha": "1.0", "gamma": "3.1"}, "ok", "all 3 locked packages"),
    ({"alpha": "1.0", "gamma": "3.0", "beta": "2.0"}, "ok", "all 3"),
    ({"alpha": "1.1", "gamma": "3.1"}, "warn", "alpha 1.1 (locked: 1.0)"),
    ({"alpha": "1.0", "gamma": "2.9"}, "warn", "gamma 2.9 (locked: 3.0 or 3.1)"),
    ({"gamma": "3.1"}, "fail", "not installed: alpha"),
])  # fmt: skip
def test_packages_are_held_against_the_lock(tmp_path: Path, installed: dict[str, str], level: str, said: str) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK)
    found = machine.on_packages(lock, installed.get)
    assert found.level == level
    assert said in found.text


def test_this_installation_is_its_locks() -> None:
    assert machine.lock_file() == ROOT / "requirements.lock"
    assert machine.on_packages(machine.lock_file()).level is Level.OK
    assert machine.on_packages(None).level is Level.WARN


def test_what_is_allowed_and_unwise_is_said() -> None:
    wise = {line.name: line.level for line in machine.on_settings(Settings())}
    assert wise == {"settings": "ok", "limits": "ok", "alert channels": "warn", "interface": "ok"}
    unwise = Settings(
        backfill_max_minutes=90,
        ui_host="192.168.1.5",
        ui_password=SecretStr("a-long-password"),
    )
    found = {line.name: line.level for line in machine.on_settings(unwise)}
    assert (found["limits"], found["interface"]) == ("warn", "warn")


def test_a_look_that_fails_is_a_line_and_hides_no_other() -> None:
    def away() -> list[Finding]:
        raise DatabaseUnavailable("it is away")

    def broken() -> list[Finding]:
        raise ZeroDivisionError("by nought")

    assert [line.text for line in looked("a", away)] == ["it is away"]
    (line,) = looked("b", broken)
    assert (line.level, line.text) == (Level.FAIL, "could not be looked at: ZeroDivisionError: by nought")
