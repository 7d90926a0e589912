"""``hl start`` and ``hl stop``: without the web interface, by name, and for good."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from hl_pipeline.cli.prepare import prepare
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline_tests.cli.conftest import Run


@pytest.fixture
def instance(environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dagster's database and home, as the first `hl up` makes them."""
    for name in ("DAGSTER_HOME", "DAGSTER_STORAGE_URL", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")  # so that what the commands set is forgotten
    create_database_if_missing(database.dagster_url.replace("+psycopg2", ""))
    prepare(Settings.load())
    yield
    with psycopg.connect(database.libpq_url, autocommit=True) as connection:
        dagster = sql.Identifier(f"{database.name}_dagster")
        connection.execute(sql.SQL("drop database {} with (force)").format(dagster))


def states(run: Run) -> dict[str, bool]:
    found = json.loads(run("start", "--list", "--json").stdout)
    return {switch["name"]: switch["running"] for switch in found}


def test_schedules_stop_and_start_by_name_and_all_and_stay_so_over_a_restart(run: Run, instance: None) -> None:
    assert all(states(run).values()), "the first start turns everything on"
    stopped = run("stop", "collect_each_minute", "deliver_alerts")
    assert stopped.exit_code == 0
    assert "Turned off: collect_each_minute, deliver_alerts." in stopped.stdout
    assert "nobody is told" in stopped.stdout
    prepare(Settings.load())  # what a restart of `hl up` does
    off = {name for name, running in states(run).items() if not running}
    assert off == {"collect_each_minute", "deliver_alerts"}
    assert "Nothing to do: they were off already." in run("stop", "collect_each_minute").stdout
    assert "Turned on: collect_each_minute." in run("start", "collect_each_minute").stdout
    assert run("stop").exit_code == 0
    assert not any(states(run).values())
    changed = {switch["name"] for switch in json.loads(run("start", "--json").stdout) if switch["changed"]}
    assert changed == set(states(run))
    assert all(states(run).values())


def test_the_list_shows_kind_state_and_when_and_changes_nothing(run: Run, instance: None) -> None:
    run("stop", "seal_nightly")
    listed = run("stop", "--list").stdout
    (line,) = [line.split() for line in listed.splitlines() if line.startswith("seal_nightly")]
    assert line == ["seal_nightly", "schedule", "off", "25", "0", "*", "*", "*"]
    assert [name for name, running in states(run).items() if not running] == ["seal_nightly"]


def test_a_name_nobody_knows_is_refused_with_those_there_are_and_changes_nothing(run: Run, instance: None) -> None:
    refused = run("stop", "collect_each_minute", "collect")
    assert refused.exit_code == 2
    assert "there is no schedule or sensor collect: choose among" in refused.stderr
    assert "seal_nightly" in refused.stderr
    assert all(states(run).values())


def test_before_the_first_start_it_says_what_is_missing(run: Run, environ: dict[str, str]) -> None:
    refused = run("stop")
    assert refused.exit_code == 1
    assert "the first `hl up` makes Dagster's database" in refused.stderr
    assert refused.stderr.count("\n") == 1
