from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.cli.ground import Ground
from hl_pipeline.settings import Settings
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.migrations import MigrationReport
from hl_pipeline_tests.cli.test_supervisor import until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_postgres_that_somebody_ended_runs_again_though_its_clients_stay(home: Path, number: signal.Signals) -> None:
    settings = Settings.load({"HL_HOME": str(home), "HL_VENUE": "sandbox", "HL_ENDPOINT": "http://127.0.0.1:9"})
    server = EmbeddedPostgres(settings.venue_home)
    try:
        first = server.start()
        ground = Ground(settings, first.database(), server, MigrationReport((), 0))
        client = psycopg.connect(first.dsn())
        assert not ground.tend(), "it runs"
        os.kill(first.pid, number)
        until(ground.tend)
        client.close()
        again = server.start()
        assert again.pid != first.pid
        with again.database() as database, database.connection() as client:
            assert client.execute("select 1").fetchone() == (1,)
    finally:
        server.stop()
