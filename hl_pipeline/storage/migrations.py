"""Brings a database to the schema this code was written for, and refuses to work on another.

``sql/migrations/V0001__what_it_does.sql`` run once each, forward only, each in a transaction with its row in
``hl.schema_version``. ``sql/repeatable/R__name.sql`` (functions, views, policies, grants) are all applied again, in
one transaction, when any of them changed: every view of the schema is dropped first, so a view may change its
columns, and a file that needs another's object is tried again after it. A function whose arguments or result
change needs its own ``drop function if exists``.

Own code rather than Alembic: the content is plain SQL files, Alembic would add an environment, a template and a
Python file for each migration, and knows no repeatable files.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from hl_pipeline.model.failure import DatabaseUnavailable, InvalidSetting, NeedsAPerson, SchemaMismatch
from hl_pipeline.storage.sql import folder, query

Connection = psycopg.Connection[tuple[Any, ...]]

_VERSIONED = re.compile(r"V(\d{4})__([a-z0-9_]+)\.sql")
_REPEATABLE = re.compile(r"R__[a-z0-9_]+\.sql")
#: What a file meets when it names an object that a later file makes.
_NOT_YET_THERE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedObject)
#: How long a runner waits for another, and for the tables it changes.
_LOCK_WAIT_MS = 120_000


@dataclass(frozen=True, slots=True)
class Script:
    """One SQL file. ``version`` is null for repeatable files."""

    path: Path
    version: int | None
    description: str
    checksum: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def text(self) -> LiteralString:
        """The file's statements; a literal in all but location, for it ships with the code."""
        return self.path.read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What the database has seen, and what this code would add: file names, in order of application."""

    installed: tuple[str, ...]
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What one run of ``migrate`` applied: file names in order, and the time it took in milliseconds."""

    applied: tuple[str, ...]
    took_ms: int


def migrate(dsn: str, *, scripts: Path | None = None) -> MigrationReport:
    """Brings the database at ``dsn`` (a libpq URL) to this code's schema.

    Safe to kill and run again, and safe to run twice at once: the second waits for the first and finds nothing
    to do. ``scripts`` replaces the project's own ``sql`` folder.

    Raises:
        SchemaMismatch: the database is newer than the code, or an applied file was edited.
        DatabaseUnavailable: the server cannot be reached, broke off, or somebody else held the locks too long.
        NeedsAPerson: a file cannot be applied (a missing right, a mistake in it); earlier files stay applied.
    """
    started = time.monotonic()
    root = scripts or folder()
    applied: list[str] = []
    with _locked_session(dsn) as connection:
        if _is_current(connection, root):  # one who may not change it finds it good
            return MigrationReport((), _elapsed_ms(started))
        connection.execute(query("schema_history_tables"))
        for script in _pending_versions(connection, root):
            _apply_version(connection, script)
            applied.append(script.name)
        if _repeatables_differ(connection, root):
            applied.extend(_apply_repeatables(connection, _repeatables(root)))
    return MigrationReport(tuple(applied), _elapsed_ms(started))


def _is_current(connection: Connection, root: Path) -> bool:
    if not _scalar(connection, "schema_history_present"):
        return False
    return not _pending_versions(connection, root) and not _repeatables_differ(connection, root)


def state(connection: Connection, *, scripts: Path | None = None) -> SchemaState:
    """What is installed and what is pending.

    Raises:
        SchemaMismatch: the database is newer than the code, or an applied file was edited.
    """
    root = scripts or folder()
    versions, repeatables = _versions(root), _repeatables(root)
    if not _scalar(connection, "schema_history_present"):
        return SchemaState((), tuple(script.name for script in [*versions, *repeatables]))
    pending = _pending_versions(connection, root)
    names = [script.name for script in pending]
    if _repeatables_differ(connection, root):
        known = _known_repeatables(connection)
        names += [script.name for script in repeatables if known.get(script.name) != script.checksum]
    done = [script.name for script in versions if script not in pending]
    return SchemaState(tuple(done), tuple(names))


def check_schema(connection: Connection, *, scripts: Path | None = None) -> SchemaState:
    """Lets pass a database with exactly this code's schema, and says what is installed.

    Raises:
        SchemaMismatch: the database was never migrated, is older, is newer, or an applied file was edited.
    """
    found = state(connection, scripts=scripts)
    if not found.installed:
        raise SchemaMismatch("the database has no schema of ours; run `hl migrate`")
    if found.pending:
        raise SchemaMismatch(
            f"the code is newer than the database: {', '.join(found.pending)} not applied; run `hl migrate`"
        )
    return found


def claim_venue(connection: Connection, venue: str) -> None:
    """Marks the database as holding the data of ``venue``, for good; the first caller decides.

    Raises:
        InvalidSetting: it already holds another's.
    """
    connection.execute(query("installation_claim"), {"venue": venue})
    check_venue(connection, venue)


def check_venue(connection: Connection, venue: str) -> None:
    """Lets pass a database that holds the data of ``venue``, or that nobody has claimed yet. Reads only.

    Raises:
        InvalidSetting: it holds another's.
    """
    row = connection.execute(query("installation_venue")).fetchone()
    held = venue if row is None else row[0]
    if held != venue:
        raise InvalidSetting(
            f"HL_VENUE is {venue}, but this database holds data of {held}; the two must never mix. "
            f"Set HL_VENUE={held}, or give {venue} a database or HL_HOME of its own"
        )


@contextmanager
def _locked_session(dsn: str) -> Iterator[Connection]:
    """A session that holds the migration lock; what goes wrong in it is said in our own words."""
    try:
        # The server looks for us every two seconds: work of a killed runner must not hold the lock for long.
        options = f"-c timezone=UTC -c lock_timeout={_LOCK_WAIT_MS} -c client_connection_check_interval=2000"
        with psycopg.connect(
            dsn, autocommit=True, connect_timeout=5, application_name="hl_pipeline migrate", options=options
        ) as connection:
            connection.execute(query("migration_lock"))
            yield connection
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable(
            f"another migration, or a transaction on our tables, held its locks for {_LOCK_WAIT_MS // 1000} s: "
            "end it and run `hl migrate` again"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NeedsAPerson(
            f"this user may not change the schema ({_first_line(error)}): name one who may in HL_MIGRATE_URL, beside "
            "HL_DATABASE_URL, and run `hl migrate`"
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"the migration lost the database: {_first_line(error)}; run it again") from error


def _run(connection: Connection, script: Script) -> None:
    try:
        connection.execute(script.text)
    except (psycopg.OperationalError, *_NOT_YET_THERE):
        raise
    except psycopg.Error as error:
        raise NeedsAPerson(f"{script.name} cannot be applied: {_first_line(error)}; nothing of it was kept") from error


def _apply_version(connection: Connection, script: Script) -> None:
    started = time.monotonic()
    with connection.transaction():
        # Views would hold on to the columns a migration changes; forgotten, they are all made again at the end.
        connection.execute(query("schema_views_drop"))
        connection.execute(query("schema_repeatables_forget"), {"names": []})
        _run(connection, script)
        connection.execute(
            query("schema_version_record"),
            {
                "version": script.version,
                "description": script.description,
                "checksum": script.checksum,
                "took_ms": _elapsed_ms(started),
            },
        )


def _apply_repeatables(connection: Connection, scripts: Sequence[Script]) -> list[str]:
    order: list[str] = []
    with connection.transaction():
        connection.execute(query("schema_views_drop"))
        waiting = list(scripts)
        while waiting:
            postponed = [script for script in waiting if not _applies(connection, script)]
            if len(postponed) == len(waiting):
                raise _unresolvable(connection, postponed[0])
            order += [script.name for script in waiting if script not in postponed]
            waiting = postponed
        names = {"names": [script.name for script in scripts]}
        connection.execute(query("schema_repeatables_forget"), names)
        connection.execute(
            query("schema_repeatables_record"), {**names, "checksums": [script.checksum for script in scripts]}
        )
    return order


def _applies(connection: Connection, script: Script) -> bool:
    try:
        with connection.transaction():
            _run(connection, script)
    except _NOT_YET_THERE:
        return False
    return True


def _unresolvable(connection: Connection, script: Script) -> Exception:
    """What the file misses, now that no other file can still bring it."""
    try:
        connection.execute(script.text)
    except _NOT_YET_THERE as error:
        return NeedsAPerson(f"{script.name} cannot be applied: {_first_line(error)}; no other file makes it")
    return AssertionError(f"{script.name} failed a moment ago")


def _pending_versions(connection: Connection, root: Path) -> list[Script]:
    known = {row[0]: row for row in connection.execute(query("schema_versions_applied")).fetchall()}
    scripts = _versions(root)
    ours = {script.version for script in scripts}
    unknown = sorted(set(known) - ours)
    if unknown:
        raise SchemaMismatch(
            f"the code is older than the database: migration {unknown[-1]} ({known[unknown[-1]][1]}) was applied by a "
            "newer version, and migrations only go forward; install that version of hl_pipeline"
        )
    for script in scripts:
        if script.version in known and known[script.version][2] != script.checksum:
            raise SchemaMismatch(
                f"{script.name} was edited after it was applied to this database; restore the file and put the "
                "change into a new migration"
            )
    return [script for script in scripts if script.version not in known]


def _known_repeatables(connection: Connection) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(query("schema_repeatables_applied")).fetchall()}


def _repeatables_differ(connection: Connection, root: Path) -> bool:
    return _known_repeatables(connection) != {script.name: script.checksum for script in _repeatables(root)}


def _versions(root: Path) -> list[Script]:
    found = []
    for path in sorted((root / "migrations").glob("*.sql")):
        match = _VERSIONED.fullmatch(path.name)
        if match is None:
            raise SchemaMismatch(f"{path.name} is not named like V0001__what_it_does.sql; rename it")
        found.append(Script(path, int(match[1]), match[2].replace("_", " "), _checksum(path)))
    return found


def _repeatables(root: Path) -> list[Script]:
    found = []
    for path in sorted((root / "repeatable").glob("*.sql")):
        if _REPEATABLE.fullmatch(path.name) is None:
            raise SchemaMismatch(f"{path.name} is not named like R__name.sql; rename it")
        found.append(Script(path, None, path.stem[3:].replace("_", " "), _checksum(path)))
    return found


def _checksum(path: Path) -> str:
    # Line ends are no content: a checkout on another system must not look like an edit.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _scalar(connection: Connection, name: str) -> Any:
    row = connection.execute(query(name)).fetchone()
    return None if row is None else row[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
