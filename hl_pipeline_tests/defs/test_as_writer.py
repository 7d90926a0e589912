"""Every job and the alert sensor with the rights that `hl up` gives its processes: hl_writer and Dagster's own user."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from hl_pipeline.defs.launch import prepare_instance, run_job
from hl_pipeline.defs.listing import JOBS, build
from hl_pipeline.defs.sensors.alerts import deliver_alerts
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.settings import Settings
from hl_pipeline.storage.embedded import EmbeddedPostgres, Server
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.roles import Login, dagster_url, login_url

pytestmark = pytest.mark.timeout(600)
#: What the others work on comes first.
NAMES = sorted([job.name for job in JOBS], key=lambda name: (name != "refresh_markets", name != "collect", name))


@dataclass(frozen=True)
class AsWriter:
    server: Server
    pipeline: Pipeline
    instance: dg.DagsterInstance


@pytest.fixture(scope="module")
def as_writer() -> Iterator[AsWriter]:
    """A pipeline on a server of its own, logged in as the writer, and an instance logged in as Dagster's user."""
    home = Path(tempfile.mkdtemp(prefix="hl-writer-"))
    with pytest.MonkeyPatch.context() as patched, EmbeddedPostgres(home) as server:
        for name in [name for name in os.environ if name.startswith(("HL_", "DAGSTER_")) and "TEST" not in name]:
            patched.delenv(name)
        migrate(server.dsn())
        writer, dagster = login_url(server, home, Login.WRITER), dagster_url(server, home)
        world = World(3, markets=markets_named("BTC", "ETH"), history_days=30)
        with RunningSandbox(world, limiter=LimiterMode.OFF) as exchange:
            settings = Settings.load(
                {
                    "HL_VENUE": "sandbox",
                    "HL_ENDPOINT": exchange.url,
                    "HL_HOME": str(home),
                    "HL_UNIVERSE": "list",
                    "HL_MARKETS": "BTC,ETH",
                    "HL_INTERVALS": "1h,1d",
                    "HL_WEIGHT_PER_MINUTE": "100000",
                    "HL_DATABASE_URL": writer,
                    "HL_DAGSTER_DATABASE_URL": dagster,
                    "HL_ALERT_URLS": f"info=file://{home}/alerts.jsonl",
                    "HL_STREAM": "false",
                }
            )
            with Database(writer, dagster_url=dagster) as database:
                for name, value in prepare_instance(settings.dagster_home, database.dagster_url).items():
                    patched.setenv(name, value)
            before = logging.getLogRecordFactory()
            with dg.DagsterInstance.get() as instance, open_pipeline(settings) as pipeline:
                yield AsWriter(server, pipeline, instance)
            logging.setLogRecordFactory(before)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_job_of_ours_runs(as_writer: AsWriter, name: str) -> None:
    month = to_datetime(as_writer.pipeline.clock.now_ms()).strftime("%Y-%m-01")
    partitions = (f"BTC|{month}", f"BTC|{month}") if name == "backfill_candles" else None
    outcome = run_job(name, partitions=partitions, pipeline=as_writer.pipeline, instance=as_writer.instance)
    assert outcome.success, outcome.failure


def test_it_was_the_writer_who_did_it(as_writer: AsWriter) -> None:
    with as_writer.pipeline.database.connection() as connection:
        assert connection.execute("select current_user").fetchone() == ("hl_writer",)
        assert connection.execute("select count(*) > 700 from hl.candle").fetchone() == (True,)


def test_alerts_are_judged_and_told(as_writer: AsWriter) -> None:
    context = dg.build_sensor_context(
        instance=as_writer.instance, definitions=build(), resources={"pipeline": as_writer.pipeline}
    )
    said = deliver_alerts(context)
    assert isinstance(said, dg.SkipReason)
    assert "findings" in str(said.skip_message)


def test_dagsters_user_is_a_stranger_in_our_database_and_the_writer_in_dagsters(as_writer: AsWriter) -> None:
    writer, dagster = as_writer.pipeline.database.libpq_url, as_writer.pipeline.database.dagster_url
    for url in (
        writer.replace("/hl?", "/dagster?"),
        dagster.replace("+psycopg2", "").replace("/dagster?", "/hl?"),
    ):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url)
