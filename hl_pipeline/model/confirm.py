"""When REST confirms what the stream has brought: each candle once, an hour after it closed at the latest.

A request costs 20 and a row a sixtieth, so an hour's candles are read at once. Each 1m
series has hours of its own, spread by its id: read at one instant, all of
them together would take minutes of the weight budget.
"""

from __future__ import annotations

from hl_pipeline.model.interval import MINUTE_MS

#: The stream says once a minute how far it has watched; silent for longer, it counts as gone.
STREAM_PATIENCE_MS = 3 * MINUTE_MS
#: Confirmed 1m candles settle the larger ones; these are asked for themselves only when that was not enough.
_DERIVED_LATER_MS = 5 * MINUTE_MS
#: Larger candles come due together, so that the ledger's rows stay few.
_DERIVED_GRID_MS = 30 * MINUTE_MS
#: A multiplier that spreads consecutive numbers evenly over any range (Knuth, multiplicative hashing).
_GOLDEN = 2_654_435_761


def phase(series_id: int, every_ms: int) -> int:
    """How far a series' periods of ``every_ms`` are shifted, 0 up to ``every_ms``."""
    return series_id * _GOLDEN % every_ms


def confirm_at(series_id: int, is_derived: bool, close_ms: int, *, every_ms: int, settle_ms: int) -> int:
    """When a slot that closes at ``close_ms`` is to be read: at most ``every_ms`` + ``settle_ms`` later for 1m.

    All slots that close within one of the series' periods have the same answer. A derived series waits for its 1m
    series and a little longer.
    """
    if is_derived:
        latest = close_ms + every_ms + settle_ms + _DERIVED_LATER_MS
        return -(-latest // _DERIVED_GRID_MS) * _DERIVED_GRID_MS
    shift = phase(series_id, every_ms)
    return -(-(close_ms + shift) // every_ms) * every_ms - shift + settle_ms
