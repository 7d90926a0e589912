"""How a fault changes candle rows: hides them, changes their numbers, or breaks one."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from hl_pipeline.sandbox.faults import SLOT_KINDS, Fault, FaultKind
from hl_pipeline.sandbox.wire import Row

WireCandle = dict[str, Any]


def apply(faults: list[Fault], rows: list[Row], now_ms: int, true_row: Callable[[int], Row | None]) -> list[Row]:
    """The rows of an answer as these faults leave them; ``true_row`` gives the closed candle of an open time."""
    for fault in faults:
        rows = _on_slots(fault, rows, now_ms, true_row) if fault.kind in SLOT_KINDS else _on_one_row(fault, rows)
    return rows


def _on_slots(fault: Fault, rows: list[Row], now_ms: int, true_row: Callable[[int], Row | None]) -> list[Row]:
    slots = frozenset(fault.opens_ms)
    if fault.kind in (FaultKind.LATE, FaultKind.VANISHED):
        return [row for row in rows if not _is_hit(row, slots)]
    change = _change(fault, true_row)
    return [_changed(row, change) if _is_hit(row, slots) and _is_closed(row, now_ms) else row for row in rows]


def _change(fault: Fault, true_row: Callable[[int], Row | None]) -> Callable[[WireCandle], None]:
    if fault.kind is FaultKind.SHIFTED:
        return partial(_shift, fault.amount)
    if fault.kind is FaultKind.FROZEN:
        kept = true_row(fault.opens_ms[0])
        return partial(_repeat, json.loads(kept.text) if kept else {})
    return _halve


def _is_hit(row: Row, slots: frozenset[int]) -> bool:
    return not slots or row.open_ms in slots


def _is_closed(row: Row, now_ms: int) -> bool:
    return int(json.loads(row.text)["T"]) < now_ms


def _on_one_row(fault: Fault, rows: list[Row]) -> list[Row]:
    """Break the rows named, or the one in the middle."""
    slots = frozenset(fault.opens_ms)
    hit = [i for i, row in enumerate(rows) if row.open_ms in slots] if slots else [len(rows) // 2][: len(rows)]
    for i in reversed(hit):
        if fault.kind is FaultKind.DUPLICATE:
            rows = [*rows[: i + 1], *rows[i:]]
        elif fault.kind is FaultKind.OUT_OF_ORDER:
            rows = [rows[i], *rows[:i], *rows[i + 1 :]] if i else [*rows[1:], rows[0]]
        else:
            rows = [*rows[:i], _changed(rows[i], _BREAKS[fault.kind]), *rows[i + 1 :]]
    return rows


def _changed(row: Row, change: Callable[[WireCandle], None]) -> Row:
    candle = json.loads(row.text)
    change(candle)
    return Row(row.open_ms, row.trades, json.dumps(candle, separators=(",", ":")).encode())


def _halve(candle: WireCandle) -> None:
    candle["v"] = f"{Decimal(candle['v']) / 2:f}"
    candle["n"] = candle["n"] // 2 or min(candle["n"], 1)


def _shift(ten_thousandths: int, candle: WireCandle) -> None:
    # all on the same decimals, so that rounding keeps high above low
    unit = min((Decimal(candle[name]) for name in "ohlc"), key=lambda price: price.as_tuple().exponent)
    for name in "ohlc":
        candle[name] = f"{(Decimal(candle[name]) * (10_000 + ten_thousandths) / 10_000).quantize(unit):f}"


def _repeat(kept: WireCandle, candle: WireCandle) -> None:
    candle.update({name: kept[name] for name in "ohlcvn" if name in kept})


def _nan(candle: WireCandle) -> None:
    candle["c"] = "NaN"


def _underscore(candle: WireCandle) -> None:
    candle["o"] = "1_0"


def _wrong_coin(candle: WireCandle) -> None:
    candle["s"] = "ETH" if candle["s"] != "ETH" else "BTC"


def _off_grid(candle: WireCandle) -> None:
    candle["t"] += 1


def _high_below_low(candle: WireCandle) -> None:
    candle["h"] = f"{Decimal(candle['l']) / 2:f}"


def _volume_without_trades(candle: WireCandle) -> None:
    candle["n"], candle["v"] = 0, "1.5"


_BREAKS: dict[FaultKind, Callable[[WireCandle], None]] = {
    FaultKind.NAN: _nan,
    FaultKind.UNDERSCORE: _underscore,
    FaultKind.WRONG_COIN: _wrong_coin,
    FaultKind.OFF_GRID: _off_grid,
    FaultKind.HIGH_BELOW_LOW: _high_below_low,
    FaultKind.VOLUME_WITHOUT_TRADES: _volume_without_trades,
}
