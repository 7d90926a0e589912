"""What a request costs of the exchange's weight budget (hyperliquid.md section 4).

The documented tariff rounds nowhere; we round up, so a forecast is never short.
"""

from __future__ import annotations

#: Weight the exchange grants one address in any minute.
EXCHANGE_WEIGHT_PER_MINUTE = 1200
ROWS_PER_CANDLE_WEIGHT = 60
ROWS_PER_FUNDING_WEIGHT = 20
FUNDING_PAGE_ROWS = 500
_LIGHT = frozenset({"l2Book", "allMids", "exchangeStatus"})
_LIGHT_WEIGHT = 2
_WEIGHT = 20


def request_weight(request_type: str, rows: int = 0) -> int:
    """Weight of one info request that returns ``rows`` items."""
    if request_type in _LIGHT:
        return _LIGHT_WEIGHT
    if request_type == "candleSnapshot":
        return _WEIGHT + -(-rows // ROWS_PER_CANDLE_WEIGHT)
    if request_type == "fundingHistory":
        return _WEIGHT + -(-rows // ROWS_PER_FUNDING_WEIGHT)
    return _WEIGHT
