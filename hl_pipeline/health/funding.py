"""Whether the funding rates are up to date."""

from __future__ import annotations

from collections.abc import Sequence

from hl_pipeline.health.verdict import Status, Verdict
from hl_pipeline.model.funding import HOUR_MS
from hl_pipeline.model.market import FundingProgress

_NAME = "funding_is_fresh"
_SHOWN = 10


def on_funding(now_ms: int, progress: Sequence[FundingProgress], hours_between_reads: int = 1) -> Verdict:
    """The newest rate of every listed market is young enough; nothing new is expected of delisted ones.

    Rates come every hour, up to 24 minutes late: so the bound is the hours between two reads and one more.
    """
    listed = [market for market in progress if not market.is_delisted]
    bound_s = (hours_between_reads + 1) * HOUR_MS // 1000
    if not listed:
        return Verdict(
            _NAME, Status.HEALTHY, "no listed perpetual market is tracked", {"behind": 0, "bound_s": bound_s}
        )
    never = [market.coin for market in listed if market.newest_ms is None]
    ages = {market.coin: (now_ms - market.newest_ms) / 1000 for market in listed if market.newest_ms is not None}
    behind = sorted([*never, *(coin for coin, age in ages.items() if age > bound_s)])
    oldest = max(ages, key=lambda coin: ages[coin], default=None)
    numbers = {
        "behind": len(behind),
        "without_rate": len(never),
        "age_s": None if oldest is None else ages[oldest],
        "coin": oldest,
        "bound_s": bound_s,
    }
    text = f"{len(behind)} of {len(listed)} listed markets are behind (bound: newest rate at most {bound_s} s old)"
    if oldest is not None:
        text += f"; the oldest is {oldest}'s with {ages[oldest]:.0f} s"
    if not behind:
        return Verdict(_NAME, Status.HEALTHY, text, numbers)
    named = ", ".join(behind[:_SHOWN]) + (", …" if len(behind) > _SHOWN else "")
    step = "run the refresh_funding job (again, while its history is unfinished) and read the failures in its metadata"
    return Verdict(_NAME, Status.DEGRADED, f"{text}: {named}. Next: {step}", numbers)
