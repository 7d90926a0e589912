"""Whether the candles read from the venue are what their 1m candles make up."""

from __future__ import annotations

from hl_pipeline.health.verdict import Status, Verdict
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.reconciliation import Mismatch, Reconciled

#: The intervals that have an aggregate, and how far back they are compared.
PERIODS: dict[Interval, str] = {
    Interval.M5: "36 h",
    Interval.M15: "36 h",
    Interval.H1: "36 h",
    Interval.H4: "36 h",
    Interval.D1: "30 d",
}
_STEP = (
    "read that window again, minutes and all, while the exchange has them: `hl collect --again --coins COIN --window "
    "START..END`, or the drain_gaps job with the same in its config; until both agree, trust neither"
)


def check_name(interval: Interval) -> str:
    """``reconciles_5m`` for 5m."""
    return f"reconciles_{interval}"


def on_reconciliation(interval: Interval, found: Reconciled | None) -> Verdict:
    """Every comparable candle equals the aggregate of its minutes; where nothing can be compared, it says so."""
    name, period = check_name(interval), PERIODS[interval]
    if found is None:
        text = f"nothing to compare: no tracked market has both {interval} and 1m candles (HL_INTERVALS)"
        return Verdict(name, Status.HEALTHY, text, {"compared": 0, "differing": 0})
    numbers: dict[str, float | int | str | None] = {
        "compared": found.compared,
        "differing": found.differing,
        "mended": len(found.seen),
        "read from the venue": found.read,
        "derived": found.derived,
        "other source": found.other,
    }
    if not found.compared:
        text = (
            f"nothing could be compared: {found.read:,} {interval} candles of {period} were read from the venue, and "
            f"of none are all minutes settled; {found.derived:,} are derived"
        )
        todo = "see in `hl gaps` what is missing of 1m; the venue's own candles are read once a day"
        return Verdict(name, Status.DEGRADED, f"{text}. Next: {todo}", numbers)
    text = (
        f"{found.differing:,} of {found.compared:,} {interval} candles of {period} differ from the aggregate of their "
        f"minutes (bound 0); {len(found.seen):,} derived ones were mended by the venue's answer within a day (bound 0)"
    )
    named = [*found.mismatches, *found.seen]
    if not named:
        return Verdict(name, Status.HEALTHY, text, numbers)
    return Verdict(name, Status.DEGRADED, f"{text}; {told(named[0])}. Next: {_STEP}", numbers)


def told(mismatch: Mismatch) -> str:
    """One mismatch in words: where, and both values of each field that differs."""
    fields = ", ".join(f"{found.field} {found.made} made, {found.venue} read" for found in mismatch.differences)
    return f"{mismatch.coin} {mismatch.interval} {to_datetime(mismatch.open_ms):%Y-%m-%d %H:%M} UTC: {fields}"
