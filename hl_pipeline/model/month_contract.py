"""What the final candles of a market's month were found to be, beside what the ledger says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class MonthContract(NamedTuple):
    """One market and month of one interval; ``month_ms`` is the month's first instant, UTC.

    ``rows`` are its final candles, ``final_slots`` the final slots of the ledger. The next four count the rows that
    break a rule: off the interval's grid, prices in disorder, volume without trades or the other way round, final
    before the close. ``sample`` holds the open times of up to ten of them, ms UTC.
    """

    coin: str
    month_ms: int
    rows: int
    final_slots: int
    off_grid: int = 0
    disordered: int = 0
    untraded: int = 0
    unclosed: int = 0
    sample: Sequence[int] = ()
