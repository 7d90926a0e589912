"""hl.endpoint: how each way to the exchange stands, for all processes; and where two of them disagreed.

Every change is one statement that commits by itself, so that the state survives whoever made it, and a probe is
taken by exactly one process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.endpoint import (
    Breaker,
    BreakerRules,
    Difference,
    EndpointState,
    EndpointView,
    FailureOf,
)
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.redact import redact
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query

#: An error's text may hold a body's beginning; the row is read often.
LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found out about one endpoint; ``lag_ms`` is how far its newest candle is behind the others'."""

    url: str
    lag_ms: int
    disagrees: bool


class PostgresEndpoints:
    """``EndpointRegistry`` over hl.endpoint; may be used by several threads.

    Time is the database server's; ``clock`` replaces it in simulations.
    """

    def __init__(self, database: Database, rules: BreakerRules | None = None, *, clock: Clock | None = None) -> None:
        self._database = database
        self._rules = rules or BreakerRules()
        self._clock = clock

    def ensure(self, urls: Sequence[str]) -> None:
        """Make ``urls`` the endpoints in use, the primary first. Who was in use before keeps its state unused.

        Raises:
            DatabaseUnavailable: Postgres cannot be reached.
        """
        self._run("endpoint_ensure", urls=list(urls))

    def view(self) -> EndpointView:
        """The endpoints in use, the primary first.

        Raises:
            DatabaseUnavailable: nobody can say who rests, so nobody should be asked.
        """
        with self._database.autocommit() as connection:
            return read_endpoints(connection, self._rules, self._clock)

    def admit(self, url: str, *, last_resort: bool = False) -> bool:
        """Take the probe of an endpoint that rests, if it is due and nobody else has it; report on it within a minute.

        As a ``last_resort`` it is due after the first rest, however often the endpoint has flapped.
        """
        lease, rest = self._length(self._rules.lease_ms), self._length(self._rules.open_ms)
        return bool(self._run("endpoint_admit", url=url, lease=lease, open=rest, last_resort=last_resort))

    def answered(self, url: str) -> None:
        """It answered: its errors in a row end, a probe counts as passed."""
        self._answered(url, None, None)

    def sighted(self, url: str, latency_ms: float, lag_ms: int) -> Breaker:
        """It answered a health probe; how its breaker stands then."""
        return self._answered(url, latency_ms, lag_ms)

    def failed(self, url: str, failure: FailureOf, error: str, *, is_health_probe: bool = False) -> None:
        """It failed: one more error in a row, or a probe that did not pass."""
        rules = self._rules
        self._run(
            "endpoint_failed",
            url=url,
            failure=str(failure),
            error=redact(error)[:LONGEST_ERROR],
            is_probe=is_health_probe,
            errors_to_open=rules.errors_to_open,
            open=self._length(rules.open_ms),
            flap=self._length(rules.flap_ms),
            longest=self._length(rules.longest_open_ms),
        )

    def release(self, url: str) -> None:
        """Give a probe back that was not made."""
        self._run("endpoint_release", url=url)

    def claim_probe(self, url: str, every_ms: int) -> bool:
        """Whether it is the caller's turn to ask this closed endpoint for its clock: nobody did in ``every_ms``."""
        return bool(self._run("endpoint_claim_probe", url=url, every=self._length(every_ms)))

    def claim_comparison(self, url: str, every_ms: int) -> bool:
        """Whether it is the caller's turn to hold the others' candles against those of ``url``."""
        return bool(self._run("endpoint_claim_comparison", url=url, every=self._length(every_ms)))

    def compared(self, connection: Connection, found: Collection[Compared]) -> None:
        """Keep what a comparison found, in the caller's transaction."""
        connection.execute(
            query("endpoint_compared"),
            {
                "urls": [one.url for one in found],
                "lags": [one.lag_ms for one in found],
                "disagree": [one.disagrees for one in found],
                "now": self._now(),
            },
        )

    def _answered(self, url: str, latency_ms: float | None, lag_ms: int | None) -> Breaker:
        enough = self._rules.successes_to_close
        row = self._run("endpoint_answered", url=url, enough=enough, latency=latency_ms, lag=lag_ms)
        return Breaker(row[0]) if row else Breaker.CLOSED

    def _run(self, name: str, **values: Any) -> tuple[Any, ...] | None:
        """The first row that the statement gives, if it gives any."""
        try:
            with self._database.autocommit() as connection:
                cursor = connection.execute(query(name), {**values, "now": self._now()})
                return cursor.fetchone() if cursor.description else None
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise DatabaseUnavailable(f"the state of an endpoint is locked by others for too long: {error}") from error

    def _now(self) -> object:
        return None if self._clock is None else to_datetime(self._clock.now_ms())

    @staticmethod
    def _length(milliseconds: int) -> timedelta:
        return timedelta(milliseconds=milliseconds)


def read_endpoints(
    connection: Connection, rules: BreakerRules | None = None, clock: Clock | None = None
) -> EndpointView:
    """The endpoints in use, the primary first, read on the caller's connection."""
    now = None if clock is None else to_datetime(clock.now_ms())
    rest = timedelta(milliseconds=(rules or BreakerRules()).open_ms)
    rows = connection.execute(query("endpoint_states"), {"now": now, "open": rest}).fetchall()
    return EndpointView(rows[0][0] if rows else 0, tuple(_state(*row[1:]) for row in rows))


def sample_coin(connection: Connection) -> str | None:
    """The tracked market that is traded most; null before any is tracked."""
    row = connection.execute(query("endpoint_sample_coin")).fetchone()
    return None if row is None else str(row[0])


def keep_disagreement(
    connection: Connection,
    primary: str,
    other: str,
    series: SeriesKey,
    found: Sequence[Difference],
    seen_ms: int,
) -> None:
    """Keep the slots on which two endpoints differ, with both values; ``seen_ms`` is market time."""
    connection.execute(
        query("endpoint_disagreement_insert"),
        {
            "seen_at": to_datetime(seen_ms),
            "primary": primary,
            "other": other,
            "coin": series.coin,
            "interval": str(series.interval),
            "open_times": [to_datetime(one.open_ms) for one in found],
            "ours": [_values(one.primary) for one in found],
            "theirs": [_values(one.other) for one in found],
        },
    )


def _values(candle: Candle | None) -> Jsonb | None:
    if candle is None:
        return None
    said: Mapping[str, Any] = dict(zip("ohlcvn", candle[1:], strict=True))
    return Jsonb(said)


def _state(
    url: str, priority: int, breaker: str, errors: int, reopens: int, is_unsteady: bool, *measured: Any
) -> EndpointState:
    """The rest stands in the order of the query and of the state's fields; the last one is the kind of failure."""
    state = EndpointState(url, priority, Breaker(breaker), errors, reopens, is_unsteady)
    names = [name.name for name in fields(state)][6:]
    found = dict(zip(names, measured, strict=True))
    return replace(state, **{**found, "failure": found["failure"] and FailureOf(found["failure"])})
