"""A place that one process of all may have: a lock held by a session of its own, so that a crash gives it back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from hl_pipeline.model.failure import AlreadyRunning, DatabaseUnavailable
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query

#: Nothing that is asked here takes longer, unless the server hangs.
_STATEMENT_MS = 10_000


class Place:
    """The place that the query named ``lock`` takes; ``refusal`` says who has it, when another session has.

    ``name`` is what the server shows of the session.
    """

    def __init__(self, database: Database, lock: str, name: str, refusal: Callable[[Connection], str]) -> None:
        self._database, self._lock, self._name, self._refusal = database, lock, name, refusal
        self._session: Connection | None = None

    def hold(self) -> None:
        """Take the place, or make sure that it is still ours: it is gone with the server that knew of it.

        Raises:
            AlreadyRunning: another process has it, perhaps since then.
            DatabaseUnavailable: nobody can say.
        """
        try:
            if not self._is_held():
                self._take()
        except psycopg.OperationalError as error:
            first_line = str(error).strip().split("\n")[0]
            raise DatabaseUnavailable(f"{self._database.address} cannot be reached: {first_line}") from error

    def give_back(self) -> None:
        """Let others have it. A session that is gone took the place with it."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _is_held(self) -> bool:
        if self._session is None:
            return False
        try:
            self._session.execute(query("place_hold"))
        except psycopg.OperationalError:
            self.give_back()
            return False
        return True

    def _take(self) -> None:
        session = psycopg.connect(
            self._database.libpq_url,
            autocommit=True,
            connect_timeout=5,
            application_name=self._name,
            options=f"-c statement_timeout={_STATEMENT_MS}",
        )
        try:
            if session.execute(query(self._lock)).fetchone() != (True,):
                raise AlreadyRunning(self._refusal(session))
        except BaseException:
            session.close()
            raise
        self._session = session
