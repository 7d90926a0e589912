from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run


def test_a_readers_url_lets_a_reader_in(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HL_DATABASE_URL", raising=False)
    monkeypatch.setenv("HL_HOME", str(home))
    monkeypatch.setenv("HL_VENUE", "sandbox")
    assert "start one with `hl db start`" in run("db", "url", "--reader").stderr
    with EmbeddedPostgres(home / "sandbox"):
        early = run("db", "url", "--reader")
        assert early.exit_code == 2
        assert "run `hl migrate`" in early.stderr
        assert run("migrate").exit_code == 0
        with psycopg.connect(run("db", "url", "--reader").stdout.strip()) as reader:
            assert reader.execute("select current_user, count(*) from hl.candles").fetchone() == ("hl_reader", 0)
        assert run("db", "url", "--reader", "--dagster").exit_code == 2


def test_on_a_server_of_your_own_the_administrator_makes_logins(run: Run, environ: dict[str, str]) -> None:
    refused = run("db", "url", "--operator")
    assert refused.exit_code == 2
    assert "in role hl_operator" in refused.stderr


def test_the_pipelines_own_work_needs_no_more_than_the_writers_rights(
    run: Run, environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connection() as connection:
        connection.execute("alter role hl_writer login password 'only-to-write'")
    as_writer = make_url(database.libpq_url).set(username="hl_writer", password="only-to-write")  # noqa: S106
    monkeypatch.setenv("HL_DATABASE_URL", as_writer.render_as_string(hide_password=False))
    for command in (
        ["collect"],
        ["collect"],
        ["status"],
        ["gaps"],
        ["confidence"],
        ["verify"],
        ["health"],
        ["dlq", "list"],
    ):
        result = run(*command)
        assert (command, result.exit_code) == (command, 0), result.output
    with database.connection() as connection:
        assert connection.execute("select count(*) > 900 from hl.candle").fetchone() == (True,)
