"""The one report while parts of the system are down: a dead database, daemon, exchange, a full disk."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from hl_pipeline.examine import examine
from hl_pipeline.health.report import Report, to_json
from hl_pipeline.health.status import Status
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.health import log
from hl_pipeline.storage.migrations import claim_venue
from hl_pipeline_tests.collect.test_host import small_disk as small_disk
from hl_pipeline_tests.storage.test_health import world
from hl_pipeline_tests.stored_world import NOW_MS

#: More than any machine needs; what hangs is to be noticed, not measured.
PATIENT_S = 30.0


def settings_for(url: str, home: Path, **more: str) -> Settings:
    ours = {"HL_VENUE": "sandbox", "HL_HOME": str(home), "HL_DATABASE_URL": url, "HL_STREAM": "false"}
    return Settings.load({**ours, **more})


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return settings_for(database.libpq_url, tmp_path)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.connection() as connection:
        world(connection)
    return database


def look(settings: Settings, deadline_s: float = PATIENT_S) -> Report:
    return examine(settings, clock=ManualClock(NOW_MS), deadline_s=deadline_s)


def states(found: Report) -> dict[str, str]:
    return {verdict.name: str(verdict.status) for verdict in found.verdicts}


def test_a_well_store_before_the_first_start_of_dagster_is_healthy(filled: Database, settings: Settings) -> None:
    with filled.connection() as connection:
        log(connection, NOW_MS - 3_600_000, "healthy", 100, {})
    found = look(settings)
    assert {name: state for name, state in states(found).items() if state != "healthy"} == {}
    assert (found.status, found.score, found.excluded) == (Status.HEALTHY, 100, ["automation", "stream"])
    assert "before the first `hl up`" in found.verdict("daemon_alive").sentence
    assert found.verdict("schema_current").numbers["migrations"] >= 12  # type: ignore[operator]
    assert found.about["watched_s"] == 3600
    assert found.about["version"] not in {None, "unknown"}
    assert int(found.about["memory_mb"] or 0) > 10


def test_the_report_names_what_every_face_needs(filled: Database, settings: Settings) -> None:
    document = to_json(look(settings))
    assert {"status", "score", "checks", "about", "reason"} <= set(document)
    keys = {"name", "status", "passed", "severity", "sentence", "numbers"}
    assert all(set(check) == keys for check in document["checks"])
    names = {check["name"] for check in document["checks"]}
    assert {
        "database_answers", "schema_current", "api_answers", "endpoints_healthy", "stream_alive", "budget_has_room",
        "fresh_1m", "fresh_1d", "coverage_complete", "gaps_before_deadline", "no_dead_letters", "no_vanished_rows",
        "rows_keep_contract", "data_trusted", "alerts_delivered", "daemon_alive", "runs_finish", "automation_on",
        "disk_has_room", "memory_bounded",
    } <= names  # fmt: skip


def test_looking_changes_nothing(filled: Database, settings: Settings) -> None:
    tables = (
        "select count(*), (select count(*) from hl.rate_limit), (select count(*) from hl.installation) from hl.fetch"
    )
    with filled.connection() as connection:
        before = connection.execute(tables.encode()).fetchone()
    look(settings)
    with filled.connection() as connection:
        assert connection.execute(tables.encode()).fetchone() == before


def test_a_dead_database_is_a_report_and_no_traceback(tmp_path: Path) -> None:
    found = look(settings_for("postgresql://nobody:nothing@127.0.0.1:1/none", tmp_path))
    assert (found.status, found.score, found.is_blind) == (Status.UNKNOWN, 0, True)
    assert "127.0.0.1:1" in (found.reason or "")
    assert states(found)["database_answers"] == "unhealthy"
    assert states(found)["disk_has_room"] == "healthy"
    assert states(found)["daemon_alive"] == "unknown"


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for one in taken:
            one.close()
        thread.join(10)


def test_a_database_that_takes_the_call_and_never_answers_is_given_up_at_the_deadline(
    silent_server: int, tmp_path: Path
) -> None:
    settings = settings_for(f"postgresql://nobody:nothing@127.0.0.1:{silent_server}/none", tmp_path)
    began = time.monotonic()
    found = look(settings, 0.3)
    assert time.monotonic() - began < 2.0, "libpq itself waits for two seconds, and for each address anew"
    assert found.reason == "no answer within 0.3 s"
    assert states(found)["database_answers"] == "unhealthy"
    assert states(found)["disk_has_room"] == "healthy"
    assert found.verdict("daemon_alive").sentence == "could not be measured: no answer within 0.3 s"


def test_a_measurement_that_is_locked_out_is_unknown_and_the_others_stand(filled: Database, settings: Settings) -> None:
    with psycopg.connect(filled.libpq_url) as other:
        other.execute("lock table hl.dead_letter in access exclusive mode")
        found = look(settings, 4.0)
    assert states(found)["no_dead_letters"] == "unknown"
    assert "timeout" in found.verdict("no_dead_letters").sentence
    assert states(found)["api_answers"] == "healthy"
    assert (found.status, found.is_blind) == (Status.UNKNOWN, False)


def test_a_table_that_is_gone_is_unknown_and_the_others_stand(filled: Database, settings: Settings) -> None:
    with filled.connection() as connection:
        connection.execute("alter table hl.fetch rename to fetch_gone")
    found = look(settings)
    assert {name for name, state in states(found).items() if state == "unknown"} == {"api_answers", "settle_known"}
    assert states(found)["fresh_1m"] == "healthy"


def test_a_database_of_another_version_or_venue_says_so(
    database: Database, settings: Settings, tmp_path: Path, empty_database_url: str
) -> None:
    bare = look(settings_for(empty_database_url, tmp_path))
    assert (bare.status, bare.is_blind) == (Status.UNKNOWN, True)
    assert "run `hl migrate`" in bare.verdict("schema_current").sentence
    with database.connection() as connection:
        claim_venue(connection, "testnet")
    strange = look(settings)
    assert strange.status is Status.UNKNOWN
    assert "holds data of testnet" in strange.verdict("venue_matches").sentence


def test_a_full_disk_is_unhealthy(filled: Database, small_disk: Path) -> None:
    settings = settings_for(filled.libpq_url, small_disk)
    assert states(look(settings))["disk_has_room"] == "healthy"
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "full").write_bytes(bytes(2 * 1024 * 1024))
    found = look(settings)
    assert (found.status, states(found)["disk_has_room"]) == (Status.UNHEALTHY, "unhealthy")
    assert str(small_disk) in found.verdict("disk_has_room").sentence


@pytest.fixture
def dagster(filled: Database, empty_database_url: str, tmp_path: Path) -> Iterator[tuple[dg.DagsterInstance, Settings]]:
    """Dagster on a database of its own, which the settings name."""
    url = Database(empty_database_url).psycopg_url.replace("+psycopg", "+psycopg2")
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "telemetry:\n  enabled: false\nstorage:\n  postgres:\n    postgres_url:\n      env: TEST_DAGSTER_URL\n"
    )
    more = {"HL_DAGSTER_DATABASE_URL": empty_database_url}
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("TEST_DAGSTER_URL", url)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance, settings_for(filled.libpq_url, tmp_path, **more)


def beat(instance: dg.DagsterInstance, age_s: float) -> None:
    for thread in ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"):
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age_s, thread, "d", []))


def test_a_daemon_that_died_is_unhealthy_though_candles_still_land(
    dagster: tuple[dg.DagsterInstance, Settings],
) -> None:
    instance, settings = dagster
    beat(instance, 0)
    alive = look(settings)
    assert states(alive)["daemon_alive"] == "healthy"
    assert (states(alive)["automation_on"], alive.parts["automation"]) == ("degraded", 0.0)
    beat(instance, 200)
    dead = look(settings)
    assert (dead.status, states(dead)["daemon_alive"]) == (Status.UNHEALTHY, "unhealthy")
    assert dead.score < alive.score


def test_dagster_s_own_server_being_gone_is_unknown_and_ours_is_still_judged(
    filled: Database, tmp_path: Path, silent_server: int
) -> None:
    for port in (1, silent_server):
        more = {"HL_DAGSTER_DATABASE_URL": f"postgresql://nobody:nothing@127.0.0.1:{port}/dagster"}
        found = look(settings_for(filled.libpq_url, tmp_path, **more), 4.0)
        assert states(found)["daemon_alive"] == "unknown"
        assert states(found)["fresh_1m"] == "healthy"
        assert found.status is Status.UNKNOWN
