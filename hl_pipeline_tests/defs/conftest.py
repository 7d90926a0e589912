"""A pipeline on a fresh database, an exchange that is a dictionary, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import make_url

from hl_pipeline.collect.fill import FillPolicy
from hl_pipeline.defs import storage
from hl_pipeline.defs.launch import instance_file
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import Pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

#: 2026-01-10T12:00:20Z: a few days into a month, so that one month is open and one closed.
NOW = 1_768_046_420_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def exchange(clock: ManualClock) -> FakeExchange:
    return FakeExchange(clock, markets=[market("BTC"), market("ETH")])


@pytest.fixture
def pipeline(database: Database, exchange: FakeExchange, clock: ManualClock, tmp_path: Path) -> Pipeline:
    settings = Settings(
        venue="sandbox",
        home=tmp_path,
        universe=Universe.LIST,
        markets=("BTC", "ETH"),
        intervals=(Interval.M15, Interval.H1, Interval.D1),
        stream=False,
    )
    budget = PostgresBudget(database, key="test", max_weight=1164)
    budget.ensure()
    return Pipeline(
        settings=settings,
        database=database,
        source=exchange,  # type: ignore[arg-type]  # answers what HyperliquidRest answers
        clock=clock,
        budget=budget,
        policy=FillPolicy(concurrency=2),
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def stored_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that other parts of Dagster can open again: schedules need one."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def settings_of_an_empty_database(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the code server reads: a database of this test, in which no candle is stored."""
    monkeypatch.setenv("HL_DATABASE_URL", database.libpq_url)
    monkeypatch.setenv("HL_VENUE", "sandbox")
    monkeypatch.setenv("HL_HOME", str(tmp_path / "hl"))


@pytest.fixture
def kept_in_postgres(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_database_url: str
) -> Iterator[dg.DagsterInstance]:
    """An instance on Postgres, as in production, but that it waits for its code servers to end."""
    url = make_url(empty_database_url).set(drivername="postgresql+psycopg2")
    monkeypatch.setenv(storage.URL_VARIABLE, url.render_as_string(hide_password=False))
    home = tmp_path / "dagster"
    home.mkdir()
    waits = "\ncode_servers:\n  wait_for_local_processes_on_shutdown: true\n"
    (home / "dagster.yaml").write_text(instance_file().read_text("utf-8") + waits, "utf-8")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
