"""Profiles: how hard the pipeline leans on the exchange, one word for the values that belong together.

``docs/profiles.md`` shows the table; a test holds it to this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """Fresh above all, the default, or sparing with the exchange and the machine."""

    AGGRESSIVE = "aggressive"
    BALANCED = "balanced"
    CONSERVATIVE = "conservative"


@dataclass(frozen=True, slots=True)
class Manner:
    """What a profile sets. Each value is a default: a variable that is set wins.

    ``period_seconds`` is the least time between two collections, ``weight_per_minute`` what all processes may spend,
    ``concurrency`` requests at once, ``batch_requests`` the most that one run asks of the gap queue, ``flush_seconds``
    how long the stream gathers candles before it lands them together.
    ``settle_seconds`` is how long after its close a candle may still change, and ``settle_most_seconds`` how long that
    may become while the exchange changes what it has published.
    """

    period_seconds: int
    weight_per_minute: int
    concurrency: int
    batch_requests: int
    flush_seconds: float
    settle_seconds: float
    settle_most_seconds: float


MANNERS: Mapping[Profile, Manner] = {
    Profile.AGGRESSIVE: Manner(60, 1200, 8, 200, 0.1, 5.0, 30.0),
    Profile.BALANCED: Manner(60, 1200, 4, 100, 0.25, 10.0, 60.0),
    Profile.CONSERVATIVE: Manner(300, 600, 2, 50, 1.0, 30.0, 120.0),
}
