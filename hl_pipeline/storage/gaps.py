"""The open gaps as people ask for them: all, nearest deadline first; or only those that are soon lost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval, to_datetime
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.model.open_gap import DEADLINE_NEAR_MS, EndangeredSlots, OpenGap
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def open_gaps(
    connection: Connection,
    now_ms: int,
    *,
    settle_ms: int,
    period_ms: int,
    coins: Collection[str] | None = None,
    intervals: Collection[Interval] | None = None,
) -> list[OpenGap]:
    """Every gap of the tracked markets at market time ``now_ms``, nearest deadline first.

    Slots that came due since a series was last asked count too, though the
    ledger does not speak of them yet. A slot is young until two periods have
    passed in which it could have been asked for.
    """
    rows = connection.execute(
        query("gaps_open"),
        {
            **_moment(now_ms, settle_ms, period_ms),
            "coins": None if coins is None else list(coins),
            "intervals": None if intervals is None else [str(interval) for interval in intervals],
        },
    )
    return [
        OpenGap(SeriesKey(coin, Interval(interval)), Span(start, end), slots, GapReason(reason), *rest)
        for coin, interval, start, end, slots, reason, *rest in rows
    ]


def endangered(connection: Connection, now_ms: int, *, settle_ms: int, period_ms: int) -> EndangeredSlots | None:
    """The gap slots that the exchange forgets within ``DEADLINE_NEAR_MS``, young ones apart; null when none."""
    row = connection.execute(
        query("health_deadlines"),
        {**_moment(now_ms, settle_ms, period_ms), "notice": timedelta(milliseconds=DEADLINE_NEAR_MS)},
    ).fetchone()
    return None if row is None else EndangeredSlots(row[0], row[1], row[2], Interval(row[3]))


def day_volumes(connection: Connection) -> dict[str, float]:
    """What each tracked market traded in 24 h, by coin, in quote currency; a market never quoted is not in it."""
    return dict(connection.execute(query("market_day_volumes")).fetchall())


def _moment(now_ms: int, settle_ms: int, period_ms: int) -> dict[str, object]:
    return {
        "now": to_datetime(now_ms),
        "settle": timedelta(milliseconds=settle_ms),
        "grace": timedelta(milliseconds=2 * period_ms),
        "window_slots": WINDOW_SLOTS,
    }
