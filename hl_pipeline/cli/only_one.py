"""One `hl up` a database: two would start every schedule twice. Held by a session, so that a crash gives it back.

The embedded server needs none of this: its folder has a lock of its own (storage/postgres_home.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.place import Place
from hl_pipeline.storage.sql import query

#: How often the session is looked after; a lost one is noticed and taken anew.
_LOOK_SECONDS = 15.0


class OnlyOne:
    """The place, once it is held."""

    def __init__(self, database: Database) -> None:
        self._place = Place(database, "up_lock", "hl up", lambda session: _refusal(database, session))
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
        self._place.hold()

    def give_back(self) -> None:
        """Let others have it."""
        self._place.give_back()


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


def _refusal(database: Database, session: Connection) -> str:
    holder = session.execute(query("up_holder")).fetchone()
    named = "" if holder is None else f", from {holder[0]} since {holder[1]:%Y-%m-%d %H:%M:%S %Z}"
    return (
        f"another `hl up` runs on {database.address}{named}: stop that one, or name another database in "
        "HL_DATABASE_URL; two would start every schedule twice"
    )
