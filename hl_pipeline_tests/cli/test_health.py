"""``hl health`` while something is down: what it says, how it exits, and that it ends; and ``hl stats``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.model.clock import SystemClock
from hl_pipeline.storage import health
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline_tests.cli.conftest import Run, hl_command
from hl_pipeline_tests.collect.test_host import small_disk as small_disk
from hl_pipeline_tests.test_examine import silent_server as silent_server

#: More than any machine needs; a process that hangs is to be noticed.
GENEROUS_S = 60
PATIENT = ("--within", str(GENEROUS_S))
HEARTBEATS = """
create table daemon_heartbeats (daemon_type text unique, daemon_id text, timestamp timestamp, body text);
create table runs (
    id bigint, pipeline_name text, status text, start_time float8, update_timestamp timestamp
);
create table instigators (status text, instigator_body text)
"""
BEAT = """
insert into daemon_heartbeats (daemon_type, timestamp, body)
select thread, now() at time zone 'UTC' - make_interval(secs => %s), '{}'
from unnest(array['SENSOR', 'SCHEDULER', 'QUEUED_RUN_COORDINATOR']) as thread
on conflict (daemon_type) do update set timestamp = excluded.timestamp
"""


@pytest.fixture
def collected(run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All six intervals, once; no stream."""
    monkeypatch.delenv("HL_INTERVALS")
    monkeypatch.setenv("HL_STREAM", "false")
    run("collect")


def checks(output: str) -> dict[str, str]:
    return {check["name"]: check["status"] for check in json.loads(output)["checks"]}


@pytest.mark.usefixtures("collected")
def test_a_dead_exchange_is_unhealthy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("health", *PATIENT).exit_code == 0
    monkeypatch.setenv("HL_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HL_REQUEST_DEADLINE_SECONDS", "1")
    for _ in range(5):  # as many failures open the breaker
        assert run("collect").exit_code == 1
    found = run("health", "--json", *PATIENT)
    assert (found.exit_code, json.loads(found.stdout)["status"]) == (1, "unhealthy")
    assert checks(found.stdout)["endpoints_healthy"] == "unhealthy"


@pytest.mark.usefixtures("collected")
def test_a_dead_daemon_is_unhealthy_and_one_that_speaks_is_not(run: Run, database: Database) -> None:
    url = database.libpq_url.replace(f"/{database.name}", f"/{database.name}_dagster")
    create_database_if_missing(url)
    try:
        with psycopg.connect(url, autocommit=True) as dagster:
            for statement in HEARTBEATS.split(";"):
                dagster.execute(statement.encode())
            dagster.execute(BEAT, (1,))
            assert run("health", *PATIENT).exit_code == 0
            dagster.execute(BEAT, (600,))
            found = run("health", "--json", *PATIENT)
        assert (found.exit_code, checks(found.stdout)["daemon_alive"]) == (1, "unhealthy")
    finally:
        with psycopg.connect(database.libpq_url, autocommit=True) as admin:
            admin.execute(f'drop database "{database.name}_dagster" with (force)'.encode())


@pytest.mark.usefixtures("collected")
def test_a_full_disk_is_unhealthy(run: Run, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_HOME", str(small_disk))
    assert run("health", *PATIENT).exit_code == 0
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "full").write_bytes(bytes(2 * 1024 * 1024))
    found = run("health", "--json", *PATIENT)
    assert (found.exit_code, checks(found.stdout)["disk_has_room"]) == (1, "unhealthy")


def test_a_database_that_never_answers_ends_the_process_all_the_same(silent_server: int, tmp_path: Path) -> None:
    ours = {
        "HL_VENUE": "sandbox",
        "HL_HOME": str(tmp_path),
        "HL_DATABASE_URL": f"postgresql://nobody:nothing@localhost:{silent_server}/none",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
    command = hl_command("health", "--json")
    environ = {**kept, **ours}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=GENEROUS_S, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["status"] == "unknown"
    assert checks(done.stdout)["disk_has_room"] == "healthy"
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("collected")
def test_status_and_verify_say_what_health_says(run: Run) -> None:
    said = json.loads(run("status", "--json").output)["health"]
    assert said == {"status": "healthy", "score": 100, "not_well": []}
    assert json.loads(run("verify", "--json").output)["health"] == said
    assert "Health: healthy, score 100 of 100 (good)" in run("status").output
    assert "Health: healthy" in run("verify").output


@pytest.mark.usefixtures("collected")
def test_stats_tell_a_stranger_what_came_of_the_day(run: Run, database: Database) -> None:
    with database.connection() as connection:
        health.log(connection, SystemClock().now_ms(), "healthy", 96, {})
    found = json.loads(run("stats", "--json").output)
    assert found["points"] > 1000
    assert found["api_calls"] > 0
    assert found["weight"] >= 20 * found["api_calls"]
    assert (found["errors"], found["answers_429"], found["gaps_lost"]) == (0, 0, 0)
    assert (found["uptime_share"], found["mean_score"]) == (1.0, 96)
    shown = run("stats").output
    for words in ("points landed", "API calls", "gaps healed", "revisions", "uptime", "100.0%", "0.0% of the calls"):
        assert words in shown


def test_stats_need_the_schema_and_say_so(
    run: Run, environ: dict[str, str], empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_DATABASE_URL", empty_database_url)
    found = run("stats")
    assert found.exit_code == 2
    assert "run `hl migrate`" in found.stderr
