"""Calendar months in UTC: how the history is cut, and how the candle table is partitioned."""

from __future__ import annotations

from datetime import UTC, datetime

from hl_pipeline.model.interval import to_datetime, to_ms
from hl_pipeline.model.span import Span


def months_in(span: Span) -> list[Span]:
    """The whole months that ``span`` touches, in order, each half-open; none when it is empty."""
    first = to_datetime(span.start_ms)
    number = first.year * 12 + first.month - 1
    found: list[Span] = []
    while (month := Span(_first_instant(number), _first_instant(number + 1))).start_ms < span.end_ms:
        found.append(month)
        number += 1
    return found


def _first_instant(number: int) -> int:
    """The first instant of the month ``number``, counted from January of the year 0; ms UTC."""
    return to_ms(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC))
