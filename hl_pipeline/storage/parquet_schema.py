"""What an exported month looks like as Parquet: columns, exact decimals, units; one layout a relation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

#: 38 digits, 24 of them behind the point: as many as a float's shortest text of 0.00001 has.
DECIMAL = pa.decimal128(38, 24)
_INSTANT = pa.timestamp("ms", "UTC")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a relation's rows stand in a file. ``instants`` are ms UTC in CSV; ``hashed`` are the columns of its content.

    ``copy``, ``staging``, ``stage`` and ``restore`` name the statements that read the rows and put them back.
    ``units`` is ``{column: its unit or meaning}``, which the schema's metadata carries.
    """

    relation: str
    copy: str
    staging: str
    stage: str
    restore: str
    schema: pa.Schema
    decimals: tuple[str, ...]
    instants: tuple[str, ...]
    hashed: tuple[str, ...]

    def csv_types(self) -> dict[str, Any]:
        """The types to read the database's CSV with, before decimals and instants are made of text and numbers."""
        types = {field.name: field.type for field in self.schema}
        types.update(dict.fromkeys(self.decimals, pa.string()))
        types.update(dict.fromkeys(self.instants, pa.int64()))
        return types


def _schema(described: dict[str, tuple[Any, str]]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, metadata={"unit": unit.encode()}) for name, (kind, unit) in described.items()]
    )


_SCALES = "digits behind the point of each decimal as stored, by commas; the value itself is exact"

CANDLE = Layout(
    relation="candle",
    copy="export_candle",
    staging="restore_candle_table",
    stage="restore_candle_stage",
    restore="restore_candle",
    schema=_schema(
        {
            "coin": (pa.string(), "market, as the exchange writes it"),
            "open_time": (_INSTANT, "instant, UTC; the slot is [open_time, open_time + interval)"),
            "open": (DECIMAL, "quote currency (USDC) per coin"),
            "high": (DECIMAL, "quote currency (USDC) per coin"),
            "low": (DECIMAL, "quote currency (USDC) per coin"),
            "close": (DECIMAL, "quote currency (USDC) per coin"),
            "volume": (DECIMAL, "coins"),
            "scales": (pa.string(), _SCALES),
            "trades": (pa.int32(), "count"),
            "finality": (pa.string(), "o open, p provisional, f final"),
            "source": (pa.string(), "r rest, s stream, a archive, d derived"),
            "fetch_id": (pa.int64(), "number of the request that brought it (hl.fetch)"),
            "asked_at": (_INSTANT, "instant, UTC, at which that request was sent; null when it is not known any more"),
        }
    ),
    decimals=("open", "high", "low", "close", "volume"),
    instants=("open_time", "asked_at"),
    hashed=(
        "coin", "open_time", "open", "high", "low", "close", "volume", "trades", "finality", "source", "fetch_id",
    ),
)  # fmt: skip

_QUOTE = ("oracle_price", "mid_price", "previous_day_price", "funding", "premium", "open_interest")
MARKET_CONTEXT = Layout(
    relation="market_context",
    copy="export_market_context",
    staging="restore_market_context_table",
    stage="restore_market_context_stage",
    restore="restore_market_context",
    schema=_schema(
        {
            "coin": (pa.string(), "market, as the exchange writes it"),
            "seen_at": (_INSTANT, "instant, UTC"),
            "mark_price": (DECIMAL, "quote currency (USDC) per coin"),
            "oracle_price": (DECIMAL, "quote currency (USDC) per coin"),
            "mid_price": (DECIMAL, "quote currency (USDC) per coin"),
            "previous_day_price": (DECIMAL, "quote currency (USDC) per coin"),
            "funding": (DECIMAL, "fraction of the position an hour"),
            "premium": (DECIMAL, "fraction of the oracle price"),
            "open_interest": (DECIMAL, "coins"),
            "day_notional_volume": (DECIMAL, "quote currency (USDC) of 24 h"),
            "day_base_volume": (DECIMAL, "coins of 24 h"),
            "scales": (pa.string(), _SCALES),
            "fetch_id": (pa.int64(), "number of the request that brought it (hl.fetch)"),
        }
    ),
    decimals=("mark_price", *_QUOTE, "day_notional_volume", "day_base_volume"),
    instants=("seen_at",),
    hashed=("coin", "seen_at", "mark_price", *_QUOTE, "day_notional_volume", "day_base_volume", "fetch_id"),
)
LAYOUTS = {layout.relation: layout for layout in (CANDLE, MARKET_CONTEXT)}
