"""How the candle history is cut: market x month.

Months begin with 2023, the year trading began; older daily rows are reference
prices, collected by ``live_candles`` all the same. Market x day would be ten
times the keys and minutes of bookkeeping (dagster.md section 5).
"""

from __future__ import annotations

import dagster as dg

from hl_pipeline.model.interval import to_ms
from hl_pipeline.model.span import Span

MARKET_PARTITIONS = "market"
FIRST_MONTH = "2023-01-01"

# end_offset: without it the current month would not exist
months = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1)
by_market_and_month = dg.MultiPartitionsDefinition(
    {"market": dg.DynamicPartitionsDefinition(name=MARKET_PARTITIONS), "month": months}
)


def month_span(month: str) -> Span:
    """The instants of the month whose key is ``YYYY-MM-01``, UTC, half-open."""
    window = months.time_window_for_partition_key(month)
    return Span(to_ms(window.start), to_ms(window.end))


def market_and_month(key: str) -> tuple[str, str]:
    """The market and the month's key of a partition key."""
    parts = by_market_and_month.get_partition_key_from_str(key).keys_by_dimension
    return parts["market"], parts["month"]
