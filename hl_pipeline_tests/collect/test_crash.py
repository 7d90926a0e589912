"""Killed with SIGKILL at any of six points and run again, a collection ends in the same tables as one undisturbed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations
from hl_pipeline_tests.conftest import lent_database
from hl_pipeline_tests.crashing import POINTS

NOW = 1_785_067_220_000  # 2026-07-26T12:00:20Z
#: Passed this often before it kills: in the middle of the work, on one of several threads
AFTER = {
    "before request": 3,
    "after response": 3,
    "mid-COPY": 3,
    "before commit": 3,
    "before the event": 0,
    "mid-event": 0,
}
DAGSTER_YAML = """
telemetry: {{enabled: false}}
storage: {{postgres: {{postgres_url: "{url}"}}}}
"""
CANDLES = """
select coin, interval, open_time, open, high, low, close, volume, trades, finality, source
from hl.candles order by coin, interval, open_time
"""
LEDGER = """
select coin, interval, month, final, empty, lost
from hl.coverage join hl.series using (series_id) join hl.market using (market_id) order by coin, interval, month
"""
GAPS = """
select coin, interval, slots, reason
from hl.gap join hl.series using (series_id) join hl.market using (market_id) order by coin, interval, slots
"""

Finished = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    world = World(11, clock=ManualClock(NOW), history_days=4)
    with RunningSandbox(world, limiter=LimiterMode.OFF) as running:
        yield running


def collect(sandbox: RunningSandbox, database: Database, home: Path, dagster: str, point: str) -> Finished:
    """Run one collecting process that dies at a point, or nowhere."""
    home.mkdir(exist_ok=True)
    url = make_url(dagster).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    (home / "dagster.yaml").write_text(DAGSTER_YAML.format(url=url), encoding="utf-8")
    ours = {
        "DAGSTER_HOME": str(home),
        "HL_VENUE": "sandbox",
        "HL_ENDPOINT": sandbox.url,
        "HL_DATABASE_URL": database.libpq_url,
        "HL_HOME": str(home),
        "HL_UNIVERSE": "list",
        "HL_MARKETS": "BTC,ETH",
        "HL_INTERVALS": "1m,5m,1h",
        "HL_WEIGHT_PER_MINUTE": "100000",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "hl_pipeline_tests.crashing", point, str(AFTER.get(point, 0)), str(NOW)],
        env=kept | ours,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(
    sandbox: RunningSandbox, postgres_url: str, template_name: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """What a run that nothing disturbs leaves."""
    with (
        lent_database(postgres_url, template_name) as database,
        lent_database(postgres_url, template_name) as dagster,
    ):
        finished = collect(sandbox, database, tmp_path_factory.mktemp("dagster"), dagster.libpq_url, "none")
        assert finished.returncode == 0, finished.stderr
        return content(database)


def content(database: Database) -> str:
    """A hash over candles, ledger and gaps, whatever ids they were given."""
    with database.connection() as connection:
        assert violations(connection) == []
        found = [connection.execute(text.encode()).fetchall() for text in (CANDLES, LEDGER, GAPS)]
    assert len(found[0]) > 5000, "nothing was collected, so nothing is compared"
    return hashlib.sha256(repr(found).encode()).hexdigest()


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_and_repeated_ends_in_the_tables_of_an_undisturbed_one(
    point: str,
    sandbox: RunningSandbox,
    database: Database,
    empty_database_url: str,
    tmp_path: Path,
    undisturbed: str,
) -> None:
    killed = collect(sandbox, database, tmp_path, empty_database_url, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = collect(sandbox, database, tmp_path, empty_database_url, "none")
    assert finished.returncode == 0, finished.stderr
    assert content(database) == undisturbed
