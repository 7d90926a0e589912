"""The one retry layer: how long to wait after a failure, and how often to try.

A library (stamina) was weighed: it cannot take an injected sleep, nor tell
waiting for our own budget from a failed attempt.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hl_pipeline.model.failure import RateLimited, TryAgain

#: No answer is believed that asks for a longer pause than this.
LONGEST_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How one call behaves when the exchange does not.

    ``attempts`` counts requests sent. ``total_s`` bounds all the waiting of one
    call, for our own budget too. The n-th pause is drawn between half and all of
    ``first_pause_s`` doubled n - 1 times, at most ``longest_pause_s``; after a 429 without
    Retry-After it starts at ``rate_limited_pause_s`` (clients in the field wait
    5 to 10 s).
    """

    attempts: int = 4
    total_s: float = 90.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    rate_limited_pause_s: float = 5.0
    chance: random.Random = field(default_factory=random.Random)

    def pause_after(self, error: TryAgain, attempt: int) -> float:
        """Seconds to wait after the ``attempt``-th request (from 1) ended in ``error``."""
        limited = isinstance(error, RateLimited)
        if limited and error.retry_after is not None:
            return min(max(error.retry_after, 0.0), LONGEST_RETRY_AFTER_S)
        first = self.rate_limited_pause_s if limited else self.first_pause_s
        pause = min(first * 2.0 ** (attempt - 1), self.longest_pause_s)
        own = pause * self.chance.uniform(0.5, 1.0)
        return max(own, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER_S))


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """What a Retry-After header asks for, in seconds from now, between 0 and 60; null when it says nothing usable.

    Both forms of RFC 9110 section 10.2.3 are read: a count of seconds, or a date.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)
