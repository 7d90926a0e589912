"""Candles as the exchange spells them: one compact JSON object a row, encoded once and kept."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass

from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.path import Numbers
from hl_pipeline.sandbox.truth import BLOCK_MS, Columns, Truth, decimal_text, volume_text
from hl_pipeline.sandbox.world import STEPS_MS

#: Encoded rows kept in memory; twenty markets with six full series need about fifty MB.
KEPT_BYTES = 400_000_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one block, each followed by a comma; row ``i`` is ``body[offsets[i]:offsets[i + 1]]``."""

    body: bytes
    offsets: list[int]
    opens_ms: list[int]
    trades: list[int]

    def between(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Positions ``first .. last - 1`` of the rows that open in ``[start_ms, end_ms)``."""
        return bisect_left(self.opens_ms, start_ms), bisect_left(self.opens_ms, end_ms)


class Encoder:
    """Encodes closed candles chunk by chunk and keeps the chunks last used; safe from any thread."""

    def __init__(self, truth: Truth, kept_bytes: int = KEPT_BYTES) -> None:
        self._truth = truth
        self._room = kept_bytes
        self._chunks: OrderedDict[tuple[str, str, int], Chunk] = OrderedDict()
        self._lock = threading.Lock()

    def chunks(self, coin: str, interval: str, start_ms: int, end_ms: int) -> list[Chunk]:
        """The chunks that hold the candles opening in ``[start_ms, end_ms)``, oldest first."""
        return [self._chunk(coin, interval, n) for n in range(start_ms // BLOCK_MS, -(-end_ms // BLOCK_MS))]

    def _chunk(self, coin: str, interval: str, number: int) -> Chunk:
        key = (coin, interval, number)
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key]
        step = STEPS_MS[interval]
        made = pack(encode(self._truth.markets[coin], interval, self._truth.block(coin, step, number)))
        with self._lock:
            if key not in self._chunks:
                self._chunks[key] = made
                self._room -= len(made.body)
            while self._room < 0 and len(self._chunks) > 1:
                self._room += len(self._chunks.popitem(last=False)[1].body)
        return made


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded candle, without a trailing comma."""

    open_ms: int
    trades: int
    text: bytes


def encode(market: MarketSpec, interval: str, columns: Columns) -> list[Row]:
    """Candles as wire rows, keys in the order of the recorded answers."""
    step, names = STEPS_MS[interval], _names(market, interval)
    decimals = market.price_decimals
    price = {p: decimal_text(p, decimals) for p in _distinct(columns)}
    fields = (getattr(columns, name).tolist() for name in Columns.__slots__)
    return [
        Row(t, n, _text(t, step, names, [price[p] for p in ohlc], volume_text(market, v, dust), n).encode())
        for t, *ohlc, v, dust, n in zip(*fields, strict=True)
    ]


def candle_text(market: MarketSpec, interval: str, open_ms: int, numbers: Numbers) -> str:
    """One candle as a wire object."""
    o, h, low, c, volume, dust, trades = numbers
    prices = [decimal_text(units, market.price_decimals) for units in (o, h, low, c)]
    names = _names(market, interval)
    return _text(open_ms, STEPS_MS[interval], names, prices, volume_text(market, volume, dust), trades)


def _names(market: MarketSpec, interval: str) -> str:
    return f'"s":"{market.coin}","i":"{interval}"'


def _text(t: int, step: int, names: str, ohlc: list[str], volume: str, trades: int) -> str:
    o, h, low, c = ohlc
    return (
        f'{{"t":{t},"T":{t + step - 1},{names},"o":"{o}","c":"{c}","h":"{h}","l":"{low}","v":"{volume}","n":{trades}}}'
    )


def pack(rows: list[Row]) -> Chunk:
    """Rows joined for slicing."""
    offsets, at = [0], 0
    for row in rows:
        at += len(row.text) + 1
        offsets.append(at)
    body = b"".join(row.text + b"," for row in rows)
    return Chunk(body, offsets, [row.open_ms for row in rows], [row.trades for row in rows])


def _distinct(columns: Columns) -> set[int]:
    return {p for column in (columns.open, columns.high, columns.low, columns.close) for p in column.tolist()}
