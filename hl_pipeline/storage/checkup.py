"""What a look at a database tells that the pipeline itself never asks: version, rights, room, sessions. Reads only."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from hl_pipeline.storage.engine import MOST_CONNECTIONS, Connection
from hl_pipeline.storage.sql import query

#: Runs at once (dagster.yaml, max_concurrent_runs).
RUNS_AT_ONCE = 4
#: Dagster's own sessions: it pools none, and its threads, the runs and the web server open one when they need it.
DAGSTERS = 20
_IDLE = timedelta(minutes=1)
_WAITING = timedelta(seconds=30)
_UNANSWERED = timedelta(minutes=10)


class ServerState(NamedTuple):
    """The server: ``most`` connections, ``reserved`` of them for superusers; ``used`` now, ``ours`` among them."""

    version: str
    version_number: int
    role: str
    most: int
    reserved: int
    used: int
    ours: int

    @property
    def room(self) -> int:
        """What is left for us, those included that we have."""
        return self.most - self.reserved - (self.used - self.ours)


class Hindrance(NamedTuple):
    """A session that holds others up, and for how many seconds."""

    pid: int
    name: str
    trouble: str
    seconds: float


def most_connections(concurrency: int, *, interfaces: int = 1) -> dict[str, int]:
    """How many connections each kind of process may hold at once, with so many requests side by side.

    A run's threads take one each, and it two more; a pool never lends more than its limit.
    """
    a_run = min(concurrency + 2, MOST_CONNECTIONS)
    return {
        "runs": RUNS_AT_ONCE * a_run,
        "code server": MOST_CONNECTIONS,
        "stream": MOST_CONNECTIONS,
        "interfaces": 2 * interfaces,
        "hl up": 2,
        "Dagster": DAGSTERS,
    }


def server_state(connection: Connection) -> ServerState:
    """The server, as it is now."""
    row = connection.execute(query("doctor_server")).fetchone()
    assert row is not None  # noqa: S101  # it counts, and a count always gives its row
    return ServerState(*row)


def rights(connection: Connection) -> tuple[bool | None, bool]:
    """Whether we may write rows (null where the schema is not there), and whether we may make the schema."""
    row = connection.execute(query("doctor_rights")).fetchone()
    assert row is not None  # noqa: S101  # a row of two questions
    return row[0], row[1]


def hindrances(connection: Connection) -> list[Hindrance]:
    """Sessions that hold others up, the longest first."""
    rows = connection.execute(query("doctor_sessions"), {"idle": _IDLE, "waiting": _WAITING})
    return [Hindrance(*row) for row in rows]


def unanswered(connection: Connection) -> int:
    """Requests without an end, ten minutes after they were sent."""
    row = connection.execute(query("doctor_unanswered"), {"after": _UNANSWERED}).fetchone()
    return 0 if row is None else int(row[0])
