"""Whether the funding rates are up to date."""

from __future__ import annotations

from collections.abc import Sequence

from hl_pipeline.health.verdict import Status, Verdict
from hl_pipeline.model.funding import HOUR_MS
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.market import FundingProgress

_NAME = "funding_is_fresh"
_SHOWN = 10


def on_funding(now_ms: int, progress: Sequence[FundingProgress], hours_between_reads: int = 1) -> Verdict:
    """The newest rate of every listed market is young enough; nothing new is expected of delisted ones.

    Rates come every hour, up to 24 minutes late: so the bound is the hours between two reads and one more. It is also
    how long a new market may be without a rate, and a history that is read from its listing on without a new page.
    """
    listed = [market for market in progress if not market.is_delisted]
    bound_ms = (hours_between_reads + 1) * HOUR_MS
    if not listed:
        numbers: dict[str, float | int | str | None] = {"behind": 0, "bound_s": bound_ms // 1000}
        return Verdict(_NAME, Status.HEALTHY, "no listed perpetual market is tracked", numbers)
    old = [market for market in listed if now_ms - (market.newest_ms or market.first_seen_ms) > bound_ms]
    reading = [market for market in old if _is_read_on(market, now_ms, bound_ms)]
    behind = sorted(market.coin for market in old if market not in reading)
    numbers, text = _told(now_ms, listed, reading, behind, bound_ms // 1000)
    if not behind:
        return Verdict(_NAME, Status.HEALTHY, text, numbers)
    named = ", ".join(behind[:_SHOWN]) + (", …" if len(behind) > _SHOWN else "")
    step = "run the refresh_funding job and read the failures in its metadata"
    return Verdict(_NAME, Status.DEGRADED, f"{text}: {named}. Next: {step}", numbers)


def _is_read_on(market: FundingProgress, now_ms: int, bound_ms: int) -> bool:
    """Whether its newest rate was old already when it came, and that was lately: history, page by page."""
    if market.newest_ms is None or market.read_ms is None:
        return False
    return market.read_ms - market.newest_ms > bound_ms and now_ms - market.read_ms <= bound_ms


def _told(
    now_ms: int,
    listed: Sequence[FundingProgress],
    reading: Sequence[FundingProgress],
    behind: Sequence[str],
    bound_s: int,
) -> tuple[dict[str, float | int | str | None], str]:
    edge = [market for market in listed if market not in reading]
    ages = {market.coin: (now_ms - market.newest_ms) / 1000 for market in edge if market.newest_ms is not None}
    oldest = max(ages, key=lambda coin: ages[coin], default=None)
    numbers: dict[str, float | int | str | None] = {
        "behind": len(behind),
        "reading": len(reading),
        "without_rate": sum(market.newest_ms is None for market in listed),
        "age_s": None if oldest is None else ages[oldest],
        "coin": oldest,
        "bound_s": bound_s,
    }
    text = f"{len(behind)} of {len(listed)} listed markets are behind (bound: newest rate at most {bound_s} s old)"
    if oldest is not None:
        text += f"; the oldest is {oldest}'s with {ages[oldest]:.0f} s"
    if reading:
        furthest = to_datetime(min(market.newest_ms or 0 for market in reading))
        text += f"; {len(reading)} more are being read on from their listing, the furthest at {furthest:%Y-%m-%d}"
    return numbers, text
