"""Several endpoints as a user sets them: collected over the one that lives, told by status and health."""

from __future__ import annotations

import json

import pytest

from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.source.endpoint import info_url
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run

DEAD = "http://127.0.0.1:1"


@pytest.fixture
def listed(environ: dict[str, str], exchange: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A dead primary and the sandbox."""
    monkeypatch.delenv("HL_ENDPOINT")
    monkeypatch.setenv("HL_ENDPOINTS", f"{DEAD}, {exchange.url}")
    return [DEAD, exchange.url]


def test_a_dead_primary_is_told_and_everything_comes_from_the_other(
    run: Run, listed: list[str], database: Database
) -> None:
    collected = json.loads(run("collect", "--json").output)
    assert (collected["failures"], collected["landed"]) == ([], collected["planned"])
    with database.connection() as connection:
        served = connection.execute("select distinct endpoint from hl.fetch where status = 'landed'").fetchall()
    assert served == [(info_url(listed[1]),)]
    status = json.loads(run("status", "--json").output)["endpoints"]
    assert (status["well"], status["endpoints"], status["serving"]) == (False, 2, 1)
    assert "Endpoints: 1 of 2 endpoints are well; 127.0.0.1:1: rests after" in run("status").output
    (verdict,) = (
        check for check in json.loads(run("health", "--json").output)["checks"] if check["name"] == "endpoints_healthy"
    )
    assert (verdict["status"], verdict["severity"]) == ("degraded", "warning")


def test_what_only_looks_leaves_the_list_as_the_collecting_processes_set_it(
    run: Run, listed: list[str], exchange: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("collect")
    monkeypatch.setenv("HL_ENDPOINTS", exchange.url)
    assert json.loads(run("status", "--json").output)["endpoints"]["endpoints"] == 2
    run("collect")
    assert json.loads(run("status", "--json").output)["endpoints"]["endpoints"] == 1


def test_a_list_that_leads_elsewhere_starts_nothing(
    run: Run, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_ENDPOINTS", f"{listed[1]},https://evil.example")
    result = run("collect")
    assert result.exit_code == 2
    assert "HL_ENDPOINTS: 'https://evil.example' is no sandbox" in result.stderr
