"""What the venue says of a larger candle, beside what its 1m candles make of it."""

from __future__ import annotations

from collections import defaultdict

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.reconciliation import Mismatch, Reconciled
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

#: Mismatches of an interval that are listed; all are counted.
SHOWN = 50


def reconcile(connection: Connection, now_ms: int) -> list[Reconciled]:
    """Every interval of 5m to 1d that is tracked beside 1m, at market time ``now_ms``; reads some days of 1m rows."""
    now = to_datetime(now_ms)
    seen: defaultdict[Interval, list[Mismatch]] = defaultdict(list)
    for coin, name, open_ms, seen_ms, made, venue in connection.execute(query("reconciliation_seen"), {"now": now}):
        interval = Interval(name)
        seen[interval].append(Mismatch(coin, interval, open_ms, made, venue, seen_ms))
    found = []
    for name, series, read, derived, other, compared, differing, listed in connection.execute(
        query("reconciliation"), {"now": now, "shown": SHOWN}
    ):
        interval = Interval(name)
        mismatches = [
            Mismatch(row["coin"], interval, row["open_ms"], tuple(row["made"]), tuple(row["venue"])) for row in listed
        ]
        found.append(
            Reconciled(interval, series, read, derived, other, compared, differing, mismatches, seen[interval])
        )
    return found
