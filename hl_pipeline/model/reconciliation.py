"""Candles of 5m to 1d from two sides: as the venue says them, and as their 1m candles make them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from hl_pipeline.model.interval import Interval

#: The venue's volume strings carry float noise; prices and trades are exact (design section 6, Derived candles).
VOLUME_TOLERANCE = Decimal("1e-9")
FIELDS = ("open", "high", "low", "close", "volume", "trades")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one candle; both values as exact decimals."""

    field: str
    made: str
    venue: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A candle that both sides tell differently. ``made`` and ``venue`` hold the values of ``FIELDS``.

    A value made is null where no minute has a row. ``seen_ms`` (UTC) is set when the venue's answer replaced the
    derived candle, so that only the past differs; null for a difference that stands.
    """

    coin: str
    interval: Interval
    open_ms: int
    made: Sequence[str | None]
    venue: Sequence[str]
    seen_ms: int | None = None

    @property
    def differences(self) -> list[Difference]:
        """The fields that differ."""
        pairs = zip(FIELDS, self.made, self.venue, strict=True)
        return [Difference(name, made, venue) for name, made, venue in pairs if made and _differs(name, made, venue)]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One interval over the tracked markets that have 1m candles too.

    ``read``, ``derived`` and ``other`` count its final candles by source; ``compared`` are those read from the venue
    whose minutes are all settled, ``differing`` of them do not match; ``mismatches`` are the newest of these, and
    ``seen`` those of the last day that the venue's answer has mended.
    """

    interval: Interval
    series: int
    read: int = 0
    derived: int = 0
    other: int = 0
    compared: int = 0
    differing: int = 0
    mismatches: Sequence[Mismatch] = ()
    seen: Sequence[Mismatch] = ()


def _differs(field: str, made: str, venue: str) -> bool:
    one, other = Decimal(made), Decimal(venue)
    if field != "volume":
        return one != other
    return abs(one - other) > VOLUME_TOLERANCE * max(one, other)
