"""One `hl up` a database: two would start every schedule twice. Held by a session, so that a crash gives it back.

The embedded server needs none of this: its folder has a lock of its own (storage/postgres_home.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from hl_pipeline.model.failure import AlreadyRunning, DatabaseUnavailable
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.sql import query

#: How often the session is looked after; a lost one is noticed and taken anew.
_LOOK_SECONDS = 15.0


class OnlyOne:
    """The place, once it is held."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._looked_at = 0.0

    def tend(self) -> None:
        """Hold it again if the session was lost; looks once in a while, however often it is called.

        Raises:
            AlreadyRunning: another `hl up` has taken it meanwhile.
        """
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        with suppress(DatabaseUnavailable):  # a database that is away is everybody's trouble, and told by others
            self.hold()

    def hold(self) -> None:
        """Take it, or make sure that it is still held.

        Raises:
            AlreadyRunning: another `hl up` has it.
            DatabaseUnavailable: nobody can say.
        """
        self._looked_at = time.monotonic()
        try:
            if self._session is not None:
                try:
                    self._session.execute(query("stream_hold"))
                except psycopg.OperationalError:
                    self.give_back()
                else:
                    return
            self._take()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"{self._database.address} cannot be reached: {str(error).strip()}") from error

    def give_back(self) -> None:
        """Let others have it."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _take(self) -> None:
        session = psycopg.connect(
            self._database.libpq_url, autocommit=True, connect_timeout=5, application_name="hl up"
        )
        try:
            row = session.execute(query("up_lock")).fetchone()
            if row is None or not row[0]:
                raise AlreadyRunning(
                    f"another `hl up` runs on {self._database.address}{_named(session)}: stop that one, or name "
                    "another database in HL_DATABASE_URL; two would start every schedule twice"
                )
        except BaseException:
            session.close()
            raise
        self._session = session


@contextmanager
def only_one(database: Database) -> Iterator[OnlyOne]:
    """Hold the place while the block runs; the server frees it when this process ends, however it ends.

    Raises:
        AlreadyRunning: another `hl up` has it.
        DatabaseUnavailable: it cannot be asked.
    """
    place = OnlyOne(database)
    place.hold()
    try:
        yield place
    finally:
        place.give_back()


def _named(session: psycopg.Connection[tuple[Any, ...]]) -> str:
    holder = session.execute(query("up_holder")).fetchone()
    return "" if holder is None else f", from {holder[0]} since {holder[1]:%Y-%m-%d %H:%M:%S %Z}"
