"""A real Postgres for every test that asks: one server and one migrated template a session, one copy a test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate

_NUMBERS = itertools.count(1)


def _url(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _administer(server: str, statement: str, *names: str) -> None:
    with psycopg.connect(server, autocommit=True, connect_timeout=5, options="-c lock_timeout=10s") as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a server's ``postgres`` database, as a user who may create databases.

    ``HL_TEST_DATABASE_URL`` names one; otherwise an embedded server lives as long as the session.
    """
    given = os.environ.get("HL_TEST_DATABASE_URL")
    if given:
        yield _url(given, "postgres")
        return
    home = Path(tempfile.mkdtemp(prefix="hl-test-pg-"))
    try:
        with EmbeddedPostgres(home) as server:
            # A third of a test's time was waiting for the disk; what survives a power cut is tested on other servers.
            _administer(server.dsn("postgres"), "alter system set fsync = off")
            _administer(server.dsn("postgres"), "select pg_reload_conf()")
            yield server.dsn("postgres")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template_name(postgres_url: str) -> Iterator[str]:
    """Name of a migrated, empty database of this session, to copy from."""
    name = f"hl_template_{os.getpid()}"
    _administer(postgres_url, "create database {}", name)
    migrate(_url(postgres_url, name))
    yield name
    _administer(postgres_url, "drop database if exists {} with (force)", name)


@contextmanager
def lent_database(postgres_url: str, template_name: str) -> Iterator[Database]:
    """A fresh, migrated database, dropped at the end."""
    name = f"hl_test_{os.getpid()}_{next(_NUMBERS)}"
    _administer(postgres_url, "create database {} template {}", name, template_name)
    database = Database(_url(postgres_url, name), application_name="test", lock_timeout_ms=5_000)
    try:
        yield database
    finally:
        database.close()
        _administer(postgres_url, "drop database if exists {} with (force)", name)


@pytest.fixture
def database(postgres_url: str, template_name: str) -> Iterator[Database]:
    """A fresh, migrated database of this test's own."""
    with lent_database(postgres_url, template_name) as database:
        yield database


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """URL of a database with nothing in it, not even our schema."""
    name = f"hl_empty_{os.getpid()}_{next(_NUMBERS)}"
    _administer(postgres_url, "create database {}", name)
    yield _url(postgres_url, name)
    _administer(postgres_url, "drop database if exists {} with (force)", name)
