"""When funding is paid, and what a month of it must hold.

A rate is paid each hour, each eighth hour until June 2023, and its instant is up
to 24 minutes late, so hours are counted and no time is ever changed: seen from
ten minutes before, each rate falls into its own hour.
"""

from __future__ import annotations

from typing import NamedTuple

from hl_pipeline.model.interval import MINUTE_MS, to_datetime
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS, request_weight

HOUR_MS = 60 * MINUTE_MS
#: A rate not there so long after its hour has begun is late beyond anything seen.
LATEST_MS = 30 * MINUTE_MS
#: 2023-06-08: from here on a rate an hour (the change came on the day before; a day is allowed for).
HOURLY_SINCE_MS = 1_686_182_400_000
#: 2023-05-01: no market paid funding earlier.
FIRST_RATE_MS = 1_682_899_200_000
_EIGHT_HOURS_MS = 8 * HOUR_MS
#: How far before its hour a rate's instant may stand.
EARLY_MS = 10 * MINUTE_MS


def hour_of(at_ms: int) -> int:
    """First instant of the hour for which a rate with this instant was paid."""
    return (at_ms + EARLY_MS) // HOUR_MS * HOUR_MS


def pages_an_hour(hourly_weight: int) -> int:
    """How many newest pages, of 20 rates at most, so much weight pays for; one at least."""
    return max(1, hourly_weight // request_weight("fundingHistory", 1))


def hours_between_reads(markets: int, hourly_weight: int) -> int:
    """In how many hours each of so many markets is read once; a page brings every rate since the last."""
    return max(1, -(-markets // pages_an_hour(hourly_weight)))


def rates_due(start_ms: int, end_ms: int) -> int:
    """How many rates are paid in ``[start_ms, end_ms)``, both on the hour."""
    if start_ms >= end_ms:
        return 0
    eight, hourly = min(end_ms, HOURLY_SINCE_MS), max(start_ms, HOURLY_SINCE_MS)
    in_eights = max(0, -(-eight // _EIGHT_HOURS_MS) - -(-start_ms // _EIGHT_HOURS_MS))
    return in_eights + max(0, (end_ms - hourly) // HOUR_MS)


class FundingMonth(NamedTuple):
    """One market's month of funding at an instant. Times in ms UTC, hours by their first instant, half-open.

    ``first_hour`` and ``newest_hour`` are of all that is stored of the market,
    null when nothing is: it is read from the listing on, so the one is where
    its funding begins and the other how far it is read. ``due_until`` is the end
    of the hours that can have been paid.
    """

    coin: str
    month_ms: int
    end_ms: int
    rows: int
    content_hash: str | None
    first_hour: int | None
    newest_hour: int | None
    is_read_to_end: bool
    due_until: int

    @property
    def gap(self) -> int:
        """Rates of the month that are due and not yet read."""
        if self.is_read_to_end:
            return 0
        read_until = 0 if self.newest_hour is None else self.newest_hour + HOUR_MS
        return rates_due(max(self.month_ms, read_until), min(self.end_ms, self.due_until))

    def pages_to_read(self) -> int:
        """The most pages it takes to read on to the end of this month; from the first rate ever when none is stored."""
        start = FIRST_RATE_MS if self.newest_hour is None else self.newest_hour + HOUR_MS
        unread = 0 if self.is_read_to_end else rates_due(start, min(self.end_ms, self.due_until))
        return -(-unread // FUNDING_PAGE_ROWS)

    @property
    def due(self) -> int:
        """Rates that the month has had so far, from the market's first on, to its last one."""
        if self.first_hour is None or self.newest_hour is None:
            return 0
        until = min(self.end_ms, self.newest_hour + HOUR_MS)
        return rates_due(max(self.month_ms, self.first_hour), until)

    @property
    def never_sent(self) -> int:
        """Rates that the exchange left out between two that it sent."""
        return max(0, self.due - self.rows)

    @property
    def is_whole(self) -> bool:
        """Something is stored, and all that is due was read."""
        return self.rows > 0 and self.gap == 0

    @property
    def is_sealed(self) -> bool:
        """Whole, and no further rate can come."""
        return self.is_whole and (self.due_until >= self.end_ms or self.is_read_to_end)

    @property
    def cannot_be_had(self) -> bool:
        """No run can bring a rate of this month: it was over before the market began, began after it ended, or has
        not begun."""
        return not self.rows and not self.gap

    @property
    def story(self) -> str:
        """One sentence: what it is, and when it is not whole, why."""
        if self.gap:
            return f"{self.gap} rates are due and not read yet"
        if self.rows:
            holes = f"; the exchange never sent {self.never_sent} rates" if self.never_sent else ""
            return ("read to its end" if self.is_sealed else "read so far; the month is still open") + holes
        if self.first_hour is not None and self.end_ms <= self.first_hour:
            return f"before the first funding rate of {self.coin}, {to_datetime(self.first_hour):%Y-%m-%d %H:%M}"
        if self.is_read_to_end:
            return f"after the last funding rate of {self.coin}: it is no longer traded, or never paid any"
        return "no rate of it is due yet"
