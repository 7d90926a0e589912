"""The weight budget in Postgres: one exact count of the last minute for all processes that share an address.

The counting is done by ``hl.check_rate_limit``; this only asks it, each time
in a transaction of its own. It fails closed: no database, no request.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from hl_pipeline.model.budget import Reservation
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BudgetExhausted, InvalidSetting
from hl_pipeline.model.interval import to_datetime, to_ms
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query

#: After a lock that could not be had in 2 s, others are queueing: come back a little later.
_AFTER_LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A key's budget at one instant; all weights are of the last 60 s.

    ``in_flight`` is the part of ``spent`` that is reserved and not yet settled.
    ``refused`` counts refusals since the key exists, each repetition anew; ``refused_since_ms`` (UTC)
    is the first refusal since a request was last let through, else null.
    ``spent_by_lane`` parts ``spent``; a lane that spent nothing is not in it.
    """

    max_weight: int
    spent: int
    remaining: int
    in_flight: int
    refused: int
    refused_since_ms: int | None
    spent_by_lane: Mapping[str, int]


class PostgresBudget:
    """``WeightBudget`` over the row ``key`` of ``hl.rate_limit``; may be used by several threads.

    ``max_weight`` is what any 60 s may hold. Time is the database server's;
    ``clock`` replaces it in simulations. Each thread is one waiter: it has one
    place in the queue, for the request it was last refused.
    """

    def __init__(self, database: Database, key: str, max_weight: int, *, clock: Clock | None = None) -> None:
        if max_weight <= 0:
            raise InvalidSetting(f"a weight budget of {max_weight} lets nothing through; set it above 0")
        self._database = database
        self._key = key
        self._max_weight = max_weight
        self._clock = clock
        self._name = uuid.uuid4().hex

    def ensure(self, *, resize: bool = True) -> None:
        """Set the key up, or give it this object's size unless ``resize`` is false.

        Raises:
            DatabaseUnavailable: Postgres cannot be reached.
        """
        with self._database.autocommit() as connection:
            values = {"key": self._key, "max_weight": self._max_weight, "resize": resize}
            connection.execute(query("budget_ensure"), values)

    def reserve(self, weight: int, *, lane: str) -> Reservation:
        """Set ``weight`` aside for a request of ``lane`` (a ``Lane`` or its value).

        Raises:
            BudgetExhausted: not now; ``retry_after`` estimates in how many seconds, and a thread that asks again
                within ``CLAIM_REPEAT_SECONDS`` keeps its place. Also when the count is locked for 2 s.
            DatabaseUnavailable: nobody can count, so nothing may be sent.
            InvalidSetting: the key is not set up or can never hold this weight, or there is no such lane.
        """
        values = {"key": self._key, "weight": weight, "lane": str(lane), "waiter": self._waiter, "now": self._now()}
        try:
            with self._database.autocommit() as connection:
                row = connection.execute(query("budget_reserve"), values).fetchone()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise BudgetExhausted(
                f"the weight budget {self._key} is locked by others for too long; nothing was sent, it is asked again",
                retry_after=_AFTER_LOCK_SECONDS,
            ) from error
        except psycopg.errors.RaiseException as error:
            raise InvalidSetting(f"{error.diag.message_primary}; {error.diag.message_hint}") from error
        if row is None:
            raise BudgetExhausted(f"the weight budget {self._key} gave no answer; nothing was sent")
        allowed, spend_id, retry_after, remaining = row
        if not allowed:
            raise BudgetExhausted(
                f"weight {weight} does not fit: {remaining} of {self._key} is left for lane {lane} in this minute, "
                f"enough in {retry_after:.1f} s; nothing was sent",
                retry_after=retry_after,
            )
        return Reservation(spend_id, weight, remaining)

    def settle(self, reservation: Reservation, weight: int) -> None:
        """Replace the reservation by the weight the answer really cost.

        Raises:
            BudgetExhausted: the reservation is locked, or gone after ten minutes; it counts as first reserved.
            DatabaseUnavailable: Postgres cannot be reached.
        """
        values = {"spend_id": reservation.spend_id, "weight": weight, "now": self._now()}
        try:
            with self._database.autocommit() as connection:
                row = connection.execute(query("budget_settle"), values).fetchone()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise BudgetExhausted(f"reservation {reservation.spend_id} is locked; it stays as reserved") from error
        if row is None or not row[0]:
            raise BudgetExhausted(f"reservation {reservation.spend_id} is gone: it was not settled within ten minutes")

    def withdraw(self) -> None:
        """Give up the place in the queue that the calling thread's refusal left; none is no error.

        Raises:
            BudgetExhausted: others keep it locked; the place is forgotten a tenth of the window after it was
                last asked for.
            DatabaseUnavailable: Postgres cannot be reached.
        """
        try:
            with self._database.autocommit() as connection:
                connection.execute(query("budget_withdraw"), {"key": self._key, "waiter": self._waiter})
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise BudgetExhausted(f"the weight budget {self._key} is locked; the place expires by itself") from error

    def state(self, connection: Connection) -> BudgetState:
        """The key's budget now, read on the caller's connection.

        Raises:
            InvalidSetting: the key is not set up.
        """
        row = connection.execute(query("budget_state"), {"key": self._key, "now": self._now()}).fetchone()
        if row is None:
            raise InvalidSetting(f"no weight budget is set up for key {self._key}; start the pipeline once")
        max_weight, spent, in_flight, refused, since, lanes = row
        remaining = max(max_weight - spent, 0)
        since_ms = None if since is None else to_ms(since)
        return BudgetState(max_weight, spent, remaining, in_flight, refused, since_ms, lanes)

    @property
    def _waiter(self) -> str:
        """The calling thread's name in the queue; a forked child has its parent's ``_name``."""
        return f"{self._name}-{os.getpid()}-{threading.get_ident()}"

    def _now(self) -> object:
        return None if self._clock is None else to_datetime(self._clock.now_ms())
