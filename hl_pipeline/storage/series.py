"""The series and their ledger: what is known of each, and how an answer changes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.ledger import Gap, GapReason, LedgerChange, SeriesState
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def ensure(connection: Connection, intervals: Collection[Interval], now_ms: int) -> int:
    """Make the series of every tracked market at ``intervals``; returns how many are new.

    A new series is expected from the oldest slot the exchange still has.
    """
    chosen = list(intervals)
    return connection.execute(
        query("series_ensure"),
        {
            "intervals": [str(interval) for interval in chosen],
            "steps_ms": [interval.milliseconds for interval in chosen],
            "oldest": [to_datetime(interval.oldest_reachable(now_ms)) for interval in chosen],
        },
    ).rowcount


def restart(connection: Connection, returned: Mapping[str, int | None], now_ms: int) -> int:
    """Expect these coins' series anew, from the oldest slot the exchange still has, where it has forgotten some.

    For markets that were not collected, or not listed, for a while: what the
    exchange forgot meanwhile is out of reach, neither lost nor a gap. A coin's
    value says when it was last seen delisted (ms UTC), null if it was not: of a
    series that had ended whole, nothing is expected up to then. Returns how
    many series begin anew.
    """
    coins = list(returned)
    row = connection.execute(
        query("series_restart"),
        {
            "coins": coins,
            "silent_until": [_optional(at_ms) for at_ms in returned.values()],
            "intervals": [str(interval) for interval in Interval],
            "oldest": [to_datetime(interval.oldest_reachable(now_ms)) for interval in Interval],
            "seen_at": to_datetime(now_ms),
        },
    ).fetchone()
    connection.execute(query("dead_letters_out_of_reach"), {"coins": coins, "now": to_datetime(now_ms)})
    return 0 if row is None else int(row[0])


def load(
    connection: Connection,
    *,
    coins: Collection[str] | None = None,
    intervals: Collection[Interval] | None = None,
) -> list[SeriesState]:
    """Every tracked series, or those of the named coins and intervals."""
    return _states(
        connection,
        coins=None if coins is None else list(coins),
        intervals=None if intervals is None else [str(interval) for interval in intervals],
    )


def lock(connection: Connection, series_id: int) -> SeriesState:
    """One series as it is now, held until the transaction ends: one landing at a time."""
    connection.execute(query("series_lock"), {"series_id": series_id})
    return load_one(connection, series_id)


def load_one(connection: Connection, series_id: int) -> SeriesState:
    """One series, tracked or not."""
    (state,) = _states(connection, series_id=series_id)
    return state


def write(connection: Connection, before: SeriesState, change: LedgerChange, asked_ms: int | None) -> None:
    """Enter a change into the ledger. Call it under ``lock``, in the transaction that stores the candles."""
    state = change.state
    if change.final or change.empty or change.lost:
        connection.execute(
            query("coverage_settle"),
            {
                "series_id": state.series_id,
                "final": multirange(change.final),
                "empty": multirange(change.empty),
                "lost": multirange(change.lost),
            },
        )
    if state.gaps != before.gaps:
        connection.execute(query("gap_clear"), {"series_id": state.series_id})
        if state.gaps:
            connection.execute(query("gap_insert"), _gap_columns(state))
    connection.execute(
        query("series_update"),
        {
            "series_id": state.series_id,
            "tracked_from": to_datetime(state.tracked_from_ms),
            "known_until": to_datetime(state.known_until_ms),
            "first_open": _optional(state.first_open_ms),
            "ended_at": _optional(state.ended_ms),
            "emits_quiet_rows": state.emits_quiet_rows,
            "reread_at": [to_datetime(at) for at in state.reread_ms],
            "asked_at": _optional(asked_ms),
        },
    )


def reopen_relisted(connection: Connection) -> int:
    """Expect candles again of markets that trade again; returns how many series that concerns."""
    return connection.execute(query("series_reopen_relisted")).rowcount


def violations(connection: Connection, since_ms: int | None = None) -> list[tuple[int, str, str]]:
    """Where the ledger contradicts the candles or itself: (series, rule, slots). Empty when it holds.

    ``since_ms`` judges the slots from its UTC day on; without it every stored candle is read.
    """
    rows = connection.execute(query("ledger_violations"), {"since": _optional(since_ms)})
    return [(row[0], row[1], row[2]) for row in rows]


def multirange(slots: SpanSet) -> Multirange[datetime]:
    """The same slots as Postgres writes them."""
    return Multirange(Range(to_datetime(span.start_ms), to_datetime(span.end_ms)) for span in slots)


def _states(
    connection: Connection,
    *,
    series_id: int | None = None,
    coins: Sequence[str] | None = None,
    intervals: Sequence[str] | None = None,
) -> list[SeriesState]:
    rows = connection.execute(
        query("series_states"), {"series_id": series_id, "coins": coins, "intervals": intervals}
    ).fetchall()
    gaps = _gaps(connection, [row[0] for row in rows])
    return [
        SeriesState(
            series_id=row[0],
            key=SeriesKey(row[1], Interval(row[2])),
            tracked_from_ms=row[3],
            known_until_ms=row[4],
            first_open_ms=row[5],
            ended_ms=row[6],
            delisted_since_ms=row[7],
            emits_quiet_rows=row[8],
            has_history=row[9],
            is_derived=row[10],
            reread_ms=tuple(row[11]),
            streamed_until_ms=row[12],
            gaps=tuple(gaps[row[0]]),
        )
        for row in rows
    ]


def _gaps(connection: Connection, series_ids: Sequence[int]) -> defaultdict[int, list[Gap]]:
    found: defaultdict[int, list[Gap]] = defaultdict(list)
    for series_id, start, end, reason, *story in connection.execute(
        query("series_gaps"), {"series_ids": list(series_ids)}
    ):
        found[series_id].append(Gap(Span(start, end), GapReason(reason), *story))
    return found


def _gap_columns(state: SeriesState) -> dict[str, object]:
    gaps, interval = state.gaps, state.key.interval
    return {
        "series_id": state.series_id,
        "starts": [to_datetime(gap.span.start_ms) for gap in gaps],
        "ends": [to_datetime(gap.span.end_ms) for gap in gaps],
        "reasons": [str(gap.reason) for gap in gaps],
        "attempts": [gap.attempts for gap in gaps],
        "first_absent": [_optional(gap.first_absent_ms) for gap in gaps],
        "next_tries": [to_datetime(gap.next_try_ms) for gap in gaps],
        "deadlines": [to_datetime(interval.deadline(gap.span.start_ms)) for gap in gaps],
        "are_dead": [gap.is_dead for gap in gaps],
    }


def _optional(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else to_datetime(at_ms)
