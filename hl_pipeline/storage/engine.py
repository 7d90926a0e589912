"""Connections to Postgres: one pool per process, safe defaults on every session, one URL in three spellings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql as psycopg_sql
from psycopg_pool import ConnectionPool, PoolTimeout
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.redact import hide
from hl_pipeline.storage import sql

Connection = psycopg.Connection[tuple[Any, ...]]
#: What one process's pool lends at most; who asks for more waits, five seconds and five more.
MOST_CONNECTIONS = 8


class Database:
    """A database and how this process talks to it.

    ``url`` is a libpq URL (``postgresql://user:password@host:port/name``). Nothing is opened before the first
    use. Every session runs in UTC, with a statement, a lock and a connect time-out. ``dagster_url`` names
    Dagster's own database; by default it is ``<name>_dagster`` on the same server.
    """

    def __init__(
        self,
        url: str,
        *,
        dagster_url: str | None = None,
        application_name: str = "hl_pipeline",
        max_connections: int = MOST_CONNECTIONS,
        connect_timeout_seconds: int = 5,
        statement_timeout_ms: int = 300_000,
        lock_timeout_ms: int = 10_000,
    ) -> None:
        hide(url, *filter(None, (dagster_url,)))
        self._url = make_url(url)
        self._dagster_url = dagster_url
        self._max_connections = max_connections
        self._wait_seconds = float(connect_timeout_seconds)
        self._session: dict[str, Any] = {
            **_keywords(self._url),
            "application_name": application_name,
            "connect_timeout": connect_timeout_seconds,
            "options": (
                f"-c timezone=UTC -c statement_timeout={statement_timeout_ms} -c lock_timeout={lock_timeout_ms}"
                " -c idle_in_transaction_session_timeout=300000 -c client_connection_check_interval=10000"
            ),
        }
        self._guard = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None

    @property
    def name(self) -> str:
        """Name of the database on its server."""
        return self._url.database or ""

    @property
    def address(self) -> str:
        """``host:port/name``: what may be shown to people; no user, no password."""
        return _address(self._url)

    @property
    def libpq_url(self) -> str:
        """``postgresql://…`` for psycopg, psql and ADBC; holds the password."""
        return _text(self._url.set(drivername="postgresql"))

    @property
    def psycopg_url(self) -> str:
        """``postgresql+psycopg://…`` for SQLAlchemy; holds the password."""
        return _text(self._url.set(drivername="postgresql+psycopg"))

    @property
    def dagster_url(self) -> str:
        """``postgresql+psycopg2://…`` of Dagster's own database; holds the password.

        The driver is named because SQLAlchemy 2.1 reads the bare scheme as psycopg 3, with which Dagster's
        event storage cannot work.
        """
        url = make_url(self._dagster_url) if self._dagster_url else self._url.set(database=f"{self.name}_dagster")
        return _text(url.set(drivername="postgresql+psycopg2"))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back when it raises.

        Raises DatabaseUnavailable when the server cannot be reached, breaks off, or has no room on its disk.
        """
        with self._lent() as connection, connection.transaction():
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """A connection on which each statement commits by itself.

        Raises DatabaseUnavailable when the server cannot be reached, breaks off, or has no room on its disk.
        """
        with self._lent() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False

    def engine(self) -> Engine:
        """A SQLAlchemy engine for pandas and Great Expectations. It pools nothing; the caller disposes of it."""
        return create_engine(self.psycopg_url, poolclass=NullPool, connect_args=self._session)

    def close(self) -> None:
        """Gives every connection back. The object may be used again afterwards."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.address})"

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        pool = self._opened()
        connection = self._borrow(pool)
        try:
            yield connection
        except psycopg.OperationalError as error:
            _raise_unavailable(error, connection, self.address)
            raise
        finally:
            pool.putconn(connection)

    def _borrow(self, pool: ConnectionPool[Connection]) -> Connection:
        try:
            return pool.getconn()
        except PoolTimeout:
            self._try_once()  # says why, if the server is gone
        try:
            return pool.getconn()  # the server is there: perhaps it only just came back
        except PoolTimeout as error:
            raise DatabaseUnavailable(
                f"all {self._max_connections} connections of this process to {self.address} stayed busy for "
                f"{2 * self._wait_seconds:g} s: raise max_connections, or hold them shorter"
            ) from error

    def _opened(self) -> ConnectionPool[Connection]:
        with self._guard:
            if self._pool is None:
                self._try_once()  # the pool itself would try for long and then not say why it failed
                self._pool = ConnectionPool(
                    kwargs=self._session,
                    min_size=0,
                    max_size=self._max_connections,
                    timeout=self._wait_seconds,
                    reconnect_timeout=0,  # no long back-off: whoever asks next tries at once
                    check=ConnectionPool.check_connection,
                    open=True,
                )
            return self._pool

    def _try_once(self) -> None:
        try:
            psycopg.connect(**self._session).close()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"{self.address} cannot be reached: {_first_line(error)}") from error


@contextmanager
def looking(
    url: str, *, application_name: str, connect_timeout_seconds: int = 2, statement_timeout_ms: int = 2_000
) -> Iterator[Connection]:
    """One connection of its own that can change nothing, in one snapshot, closed at the end; for probes.

    ``url`` is in any of `Database`'s three spellings. Each statement is bounded, not the whole; libpq knows no
    connect time-out under two seconds.

    Raises DatabaseUnavailable when the server cannot be reached, or breaks off.
    """
    wanted = make_url(url)
    bounds = f"-c timezone=UTC -c statement_timeout={statement_timeout_ms} -c lock_timeout={statement_timeout_ms}"
    session: dict[str, Any] = {
        **_keywords(wanted),
        "application_name": application_name,
        "connect_timeout": connect_timeout_seconds,
        "options": bounds,
    }
    try:
        connection = psycopg.connect(**session)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"{_address(wanted)} cannot be reached: {_first_line(error)}") from error
    with closing(connection):
        connection.read_only, connection.isolation_level = True, psycopg.IsolationLevel.REPEATABLE_READ
        try:
            yield connection
        except psycopg.OperationalError as error:
            _raise_unavailable(error, connection, _address(wanted))
            raise


def create_database_if_missing(url: str) -> bool:
    """Creates the database that ``url`` names, through the server's ``postgres`` database. True if it was made.

    Raises DatabaseUnavailable when the server cannot be reached; psycopg's InsufficientPrivilege when the user
    may not create databases.
    """
    wanted = make_url(url)
    name = wanted.database or ""
    administration = {**_keywords(wanted), "dbname": "postgres", "connect_timeout": 5}
    try:
        with psycopg.connect(**administration, autocommit=True) as connection:
            if connection.execute(sql.query("database_exists"), {"name": name}).fetchone():
                return False
            statement = psycopg_sql.SQL("create database {}").format(psycopg_sql.Identifier(name))
            connection.execute(statement)
    except psycopg.errors.DuplicateDatabase:
        return False  # another process was quicker
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"{_address(wanted)} cannot be reached: {_first_line(error)}") from error
    return True


def _raise_unavailable(error: psycopg.OperationalError, connection: Connection, address: str) -> None:
    """A lost connection and a full disk are renamed; a refused lock or a cancelled statement keeps its own class.

    Raises:
        DatabaseUnavailable: it is one of the two; what was asked for is not stored, and may be asked again.
    """
    if connection.closed:
        raise DatabaseUnavailable(f"{address} broke off: {_first_line(error)}") from error
    if isinstance(error, psycopg.errors.DiskFull):
        raise DatabaseUnavailable(
            f"{address} has no room on its disk: {_first_line(error)}; nothing of this was stored. Make room there, "
            "then run it again: what is due is asked for again by itself"
        ) from error


def _keywords(url: URL) -> dict[str, Any]:
    """The URL as libpq's keywords, whatever driver its scheme names."""
    return {**url.translate_connect_args(username="user", database="dbname"), **url.query}


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _address(url: URL) -> str:
    return f"{url.host or 'local socket'}:{url.port or 5432}/{url.database or ''}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
