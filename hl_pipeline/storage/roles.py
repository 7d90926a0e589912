"""Logins for the roles of ``sql/repeatable/R__zz_grants.sql``, on the embedded server.

The roles are made without a login; one gets it when somebody asks for its URL. Each has a password of its own, kept as
the server's is: ``pg.<role>.password`` in the home folder, 0600. On a server of the user's own, an administrator makes
logins and puts them into the roles.

Dagster's tables stand in a database of their own, and have a user of their own who owns it and sees nothing else.
"""

from __future__ import annotations

import os
import secrets
from enum import StrEnum
from pathlib import Path

import psycopg
from psycopg import sql

from hl_pipeline.model.failure import DatabaseUnavailable, SchemaMismatch
from hl_pipeline.model.redact import hide
from hl_pipeline.storage.embedded import DAGSTER_DATABASE, OWN_DATABASE, Server
from hl_pipeline.storage.sql import query


class Login(StrEnum):
    """Who may log in; the role is ``hl_<name>``."""

    READER = "reader"
    OPERATOR = "operator"
    WRITER = "writer"
    MIGRATE = "migrate"

    @property
    def role(self) -> str:
        """The role's name on the server."""
        return f"hl_{self}"


#: Defaults that keep a forgotten session from holding things up; whoever is logged in may change his own.
_MANNERS = {
    Login.READER: {"default_transaction_read_only": "on", "statement_timeout": "60s"},
    Login.OPERATOR: {"statement_timeout": "60s"},
}
_COMMON = {"idle_in_transaction_session_timeout": "60s", "lock_timeout": "10s", "timezone": "UTC"}
#: What a person or a program may hold at once; the pipeline has all there are.
_MOST_CONNECTIONS = {Login.READER: 20, Login.OPERATOR: 20, Login.MIGRATE: 20, Login.WRITER: -1}
_DAGSTER_ROLE = "hl_dagster"


def login_url(server: Server, home: Path, login: Login) -> str:
    """The libpq URL with which ``login`` reaches our database on the embedded server; holds a password.

    Gives the role its login, password and settings anew, whatever its holder made of them. Other databases of the
    server are closed to it.

    Raises:
        SchemaMismatch: the roles are not there; the schema is older than they are.
        DatabaseUnavailable: the server cannot be reached.
    """
    password = _password(home / f"pg.{login}.password")
    try:
        with psycopg.connect(server.dsn(OWN_DATABASE), connect_timeout=5) as connection:
            _let_in(connection, login, password)
    except psycopg.errors.UndefinedObject as error:
        raise SchemaMismatch(f"the database has no role {login.role}; run `hl migrate`") from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"the embedded Postgres cannot be reached: {error}") from error
    return _url(login.role, password, server, OWN_DATABASE)


def dagster_url(server: Server, home: Path) -> str:
    """The libpq URL with which Dagster reaches its own database on the embedded server; holds a password.

    Its user owns that database and all in it, made by whomever, and no other. Gives it its password anew.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
    """
    password = _password(home / "pg.dagster.password")
    try:
        with psycopg.connect(server.dsn(DAGSTER_DATABASE), connect_timeout=5) as connection:
            connection.execute(query("role_dagster_make"))
            _give_login(connection, _DAGSTER_ROLE, password, -1)
            connection.execute(query("role_dagster_owns"))
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"the embedded Postgres cannot be reached: {error}") from error
    return _url(_DAGSTER_ROLE, password, server, DAGSTER_DATABASE)


def _url(role: str, password: str, server: Server, database: str) -> str:
    hide(password)
    return f"postgresql://{role}:{password}@127.0.0.1:{server.port}/{database}?sslmode=disable"


def _let_in(connection: psycopg.Connection[tuple[object, ...]], login: Login, password: str) -> None:
    role = sql.Identifier(login.role)
    _give_login(connection, login.role, password, _MOST_CONNECTIONS[login])
    connection.execute(sql.SQL("alter role {} reset all").format(role))
    for setting, value in {**_COMMON, **_MANNERS.get(login, {})}.items():
        connection.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(setting), value))
    for (database,) in connection.execute(query("role_open_databases")).fetchall():
        connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(str(database))))


def _give_login(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str, most: int) -> None:
    # as it is stored, so that no log can hold it in clear
    stored = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    role = sql.Identifier(name)
    connection.execute(sql.SQL("alter role {} login connection limit {} password {}").format(role, most, stored))


def _password(path: Path) -> str:
    """The password in the file, made at the first time."""
    if path.exists() and (known := path.read_text(encoding="ascii").strip()):
        return known
    made = secrets.token_urlsafe(24)
    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(held, "w", encoding="ascii") as out:
        out.write(made + "\n")
        out.flush()
        os.fsync(out.fileno())
    return made
