"""Candles of 5m to 1d made from complete 1m candles, in one statement for all five intervals."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from psycopg.types.multirange import Multirange

from hl_pipeline.model.interval import Interval, to_datetime, to_ms
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class DerivedSlots(NamedTuple):
    """Slots of one series that its market's 1m slots settle and that its ledger does not call settled yet."""

    series_id: int
    final: SpanSet
    empty: SpanSet


def upward(
    connection: Connection, series_id: int, span: Span, fetch_id: int, asked_ms: int, settle_ms: int
) -> list[DerivedSlots]:
    """Write the larger candles over ``span`` that are new or changed; locks their series until the transaction ends.

    ``series_id``, held by ``series.lock``, is a market's 1m series, or the one of the others that is meant alone;
    ``fetch_id`` is the answer that led here. Series that were never answered are left out: their first answer brings
    what 1m cannot reach.
    """
    if not connection.execute(query("derive_lock"), {"series_id": series_id}).fetchall():
        return []
    rows = connection.execute(
        query("derive_upward"),
        {
            "series_id": series_id,
            "starts": to_datetime(span.start_ms),
            "ends": to_datetime(span.end_ms),
            "day_starts": to_datetime(Interval.D1.floor(span.start_ms)),
            "day_ends": to_datetime(Interval.D1.ceil(span.end_ms)),
            "settled_until": to_datetime(Interval.M1.floor(asked_ms - settle_ms)),
            "asked_at": to_datetime(asked_ms),
            "fetch_id": fetch_id,
        },
    )
    return [DerivedSlots(series_id, _span_set(final), _span_set(empty)) for series_id, final, empty in rows]


def _span_set(slots: Multirange[datetime]) -> SpanSet:
    return SpanSet.of((to_ms(span.lower), to_ms(span.upper)) for span in slots if span.lower and span.upper)
