"""hl.fetch_failure and hl.dead_letter: failures counted until a window is laid aside, and what becomes of it then.

The rules stand in sql/repeatable/R__dead_letters.sql. What changes a ledger is
called under ``series.lock``, after ``series.write``, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from psycopg.types.multirange import Multirange

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.dead_letter import DeadLetter, DeadLetterTally, FailureKind
from hl_pipeline.model.interval import Interval, to_datetime, to_ms
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.series import multirange
from hl_pipeline.storage.sql import query


def record(
    connection: Connection,
    series_id: int,
    slots: SpanSet,
    kind: FailureKind,
    *,
    failed_ms: int,
    error: str,
    request: Mapping[str, Any],
    fetch_id: int,
) -> list[DeadLetter]:
    """Count a failure of these gap slots; the dead letters that died of it, or again."""
    died = connection.execute(
        query("failure_record"),
        {
            "series_id": series_id,
            "slots": multirange(slots),
            "kind": str(kind),
            "failed_at": to_datetime(failed_ms),
            "error": error,
            "request": Jsonb(dict(request)),
            "fetch_id": fetch_id,
        },
    ).fetchall()
    return letters(connection, numbers=[number for (number,) in died]) if died else []


def forget_failures(connection: Connection, series_id: int, answered: SpanSet, refused: SpanSet | None = None) -> None:
    """The slots got an answer, or are settled or lost; ``refused`` are those whose rows broke a rule again."""
    parameters = {
        "series_id": series_id,
        "answered": multirange(answered),
        "refused": multirange(refused or SpanSet()),
    }
    connection.execute(query("failures_forget"), parameters)


def settle(connection: Connection, series_id: int, freed: SpanSet, lost: SpanSet, now_ms: int) -> int:
    """These dead slots are answered, or ``lost``; returns how many letters that resolved, alerts included."""
    row = connection.execute(
        query("dead_letters_settle"),
        {
            "series_id": series_id,
            "freed": multirange(freed),
            "lost": multirange(lost),
            "now": to_datetime(now_ms),
        },
    ).fetchone()
    return 0 if row is None else int(row[0])


def retry(connection: Connection, now_ms: int, *, kind: FailureKind | None = None, number: int | None = None) -> int:
    """Have the slots of the open letters asked for by the next collection; returns how many letters.

    All of them, those of a ``kind``, or the one with this ``number``.
    """
    row = connection.execute(
        query("dead_letters_retry"),
        {"kind": None if kind is None else str(kind), "number": number, "now": to_datetime(now_ms)},
    ).fetchone()
    return 0 if row is None else int(row[0])


def letters(
    connection: Connection,
    *,
    kind: FailureKind | None = None,
    numbers: Collection[int] | None = None,
    only_open: bool = False,
) -> list[DeadLetter]:
    """The dead letters, the newest death first."""
    rows = connection.execute(
        query("dead_letters"),
        {
            "kind": None if kind is None else str(kind),
            "numbers": None if numbers is None else list(numbers),
            "only_open": only_open,
        },
    )
    return [_letter(row) for row in rows]


def tally(connection: Connection) -> DeadLetterTally:
    """The open dead letters in figures."""
    row = connection.execute(query("health_dead_letters")).fetchone()
    if row is None:
        return DeadLetterTally()
    count, slots, by_kind, died_ms, coin, interval, next_step = row
    return DeadLetterTally(count, slots, by_kind, died_ms, coin, Interval(interval), next_step)


def violations(connection: Connection) -> list[tuple[int, str, str]]:
    """Where dead letters and dead gaps contradict one another: (series, rule, slots). Empty when they agree."""
    return [(row[0], row[1], row[2]) for row in connection.execute(query("dead_letter_violations"))]


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    number, coin, interval, kind, slots, waiting, lost, *rest = row
    key = SeriesKey(coin, Interval(interval))
    return DeadLetter(number, key, FailureKind(kind), _span_set(slots), _span_set(waiting), _span_set(lost), *rest)


def _span_set(found: Multirange[datetime]) -> SpanSet:
    return SpanSet.of(Span(to_ms(span.lower), to_ms(span.upper)) for span in found if span.lower and span.upper)
