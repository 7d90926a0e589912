"""Roles on a server of one's own, whose administrator is no superuser: made, and good enough for the pipeline."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hl_pipeline.storage import latest_metrics
from hl_pipeline.storage.embedded import EmbeddedPostgres, Server
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate


@pytest.fixture
def server() -> Iterator[Server]:
    """One on which nobody has made our roles."""
    home = Path(tempfile.mkdtemp(prefix="hl-roles-"))
    try:
        with EmbeddedPostgres(home) as server:
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_who_may_make_roles_migrates_a_new_server_and_a_writers_login_does_the_rest(server: Server) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("create role deploy login createrole password 'deploy'")
        admin.execute("create database candles owner deploy")

    def url(user: str) -> str:
        return server.dsn("candles").replace(f"hl_admin:{server.password}", f"{user}:{user}")

    migrate(url("deploy"))
    with psycopg.connect(url("deploy"), autocommit=True) as deploy:
        deploy.execute("create role app login password 'app' in role hl_writer")
        assert deploy.execute(
            "select relowner::regrole::text from pg_class where oid = 'hl.candle'::regclass"
        ).fetchone() == ("hl_owner",)
    assert migrate(url("app")).applied == ()
    with Database(url("app")) as database:
        for _ in range(
            2
        ):  # the second time the view is refreshed beside its readers, in a temporary table of its owner
            with database.connection() as connection:
                assert latest_metrics.refresh(connection).refreshed
    assert migrate(url("deploy")).applied == ()
