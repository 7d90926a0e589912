"""Candle answers, judged row by row.

A good answer is checked column by column, which is fast. When anything in it
is off, the slow path names each bad row and keeps the good ones. Both apply
the same rules; a property test holds them together.

``trades > 0`` with ``volume == 0`` is allowed: the exchange rounds volumes to
the market's size decimals. ``trades == 0`` with a volume is a contradiction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from operator import lt

import msgspec

from hl_pipeline.model.answer import CandleRequest, RejectedRow
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.source.wire import (
    DECIMAL_RULE,
    LATEST_MS,
    first_broken,
    is_decimal,
    is_instant,
    offender,
    read_row,
    read_rows,
    reject,
)

#: The table's trade count is a Postgres integer.
MOST_TRADES = 2_147_483_647
_MOST_FAST_CHARACTERS = 20
_INTERVALS = frozenset(Interval)
_DECIMAL_BYTES = b"0123456789.\n"


class _Wire(msgspec.Struct, gc=False):
    """A candle as on the wire (hyperliquid.md section 2); unknown keys are ignored."""

    t: int
    T: int
    s: str
    i: str
    o: str
    h: str
    l: str  # noqa: E741  the exchange's own name
    c: str
    v: str
    n: int


_ANSWER = msgspec.json.Decoder(list[_Wire])
_ROW = msgspec.json.Decoder(_Wire)


def decode_candles(body: bytes, request: CandleRequest) -> tuple[list[Candle], list[RejectedRow], int]:
    """Candles inside the asked span, ascending; the rows refused; how many more were beyond it or repeated.

    The three add up to the rows received.

    Raises:
        BadAnswer: the body is not one whole JSON array.
    """
    try:
        rows = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_row_by_row(body, request)
    if not rows:
        return [], [], 0
    candles = _candles_if_all_good(rows, request.series)
    if candles is None:
        return _decode_row_by_row(body, request)
    first = bisect_left(candles, request.start_ms, key=_open_time)
    past = bisect_left(candles, request.end_ms, key=_open_time)
    inside = candles[first:past]
    return inside, [], len(candles) - len(inside)


def _open_time(candle: Candle) -> int:
    return candle.open_ms


def _candles_if_all_good(rows: list[_Wire], series: SeriesKey) -> list[Candle] | None:
    """All rows as candles if every one is beyond doubt and in order, else None (which accuses nobody)."""
    if {row.s for row in rows} != {series.coin} or {row.i for row in rows} != {series.interval.value}:
        return None
    opens = [row.t for row in rows]
    trades = [row.n for row in rows]
    if not _times_are_good(opens, [row.T for row in rows], series.interval.milliseconds):
        return None
    if min(trades) < 0 or max(trades) > MOST_TRADES:
        return None
    o, h, l, c, v = (  # noqa: E741
        [row.o for row in rows],
        [row.h for row in rows],
        [row.l for row in rows],
        [row.c for row in rows],
        [row.v for row in rows],
    )
    if not all(map(_may_be_decimals, (o, h, l, c, v))):
        return None
    try:
        volumes = list(map(float, v))
        ordered = _prices_are_ordered(o, h, l, c)
    except ValueError:  # a text with two points
        return None
    if not ordered or (0 in trades and any(n == 0 and volume > 0 for n, volume in zip(trades, volumes, strict=True))):
        return None
    return list(map(Candle._make, zip(opens, o, h, l, c, v, trades, strict=True)))


def _times_are_good(opens: list[int], closes: list[int], length: int) -> bool:
    last = length - 1
    return (
        opens[0] >= 0
        and opens[-1] < LATEST_MS
        and all(map(lt, opens, opens[1:]))
        and closes == [at + last for at in opens]
        and {at % length for at in opens} == {0}
    )


def _may_be_decimals(column: list[str]) -> bool:
    """Whether every text that ``float`` accepts here is a decimal of at most 20 characters.

    One pass over the joined bytes leaves digits and points, with a digit at
    both ends; ``float`` refuses two points. Longer texts take the slow path.
    """
    joined = "\n" + "\n".join(column) + "\n"
    if not joined.isascii():
        return False
    data = joined.encode()
    return (
        not data.translate(None, _DECIMAL_BYTES)
        and data.count(b"\n") == len(column) + 1
        and b"\n." not in data
        and b".\n" not in data
        and max(map(len, column)) <= _MOST_FAST_CHARACTERS
    )


def _prices_are_ordered(o: list[str], h: list[str], l: list[str], c: list[str]) -> bool:  # noqa: E741
    """Whether 0 < low <= open, close <= high in every row, beyond float's doubt; ``float`` may raise ValueError.

    ``float`` never swaps two decimals, it can only make them equal: a strict
    order of floats proves the order, equal texts are equal, the rest is doubt.
    """
    fo, fh, fl, fc = (list(map(float, column)) for column in (o, h, l, c))
    if min(fl) <= 0:
        return False
    for so, sh, sl, sc, xo, xh, xl, xc in zip(o, h, l, c, fo, fh, fl, fc, strict=True):
        if not ((xh > xo or sh == so) and (xh > xc or sh == sc) and (xl < xo or sl == so) and (xl < xc or sl == sc)):
            return False
    return True


def _decode_row_by_row(body: bytes, request: CandleRequest) -> tuple[list[Candle], list[RejectedRow], int]:
    raws = read_rows(body, f"candleSnapshot {request.series.coin} {request.series.interval}")
    rejected: list[RejectedRow] = []
    outside = 0
    by_slot: defaultdict[int, list[tuple[int, Candle]]] = defaultdict(list)
    for position, raw in enumerate(raws):
        row = read_row(raw, _ROW)
        if isinstance(row, str):
            rejected.append(reject(position, row, offender(raw, row), raw))
            continue
        broken = first_broken(_rules(row, request.series))
        if broken is not None:
            rejected.append(reject(position, broken[0], broken[1], raw))
        elif request.start_ms <= row.t < request.end_ms:
            candle = Candle(row.t, row.o, row.h, row.l, row.c, row.v, row.n)
            by_slot[row.t].append((position, candle))
        else:
            outside += 1
    candles: list[Candle] = []
    for open_ms in sorted(by_slot):
        rivals = by_slot[open_ms]
        if len({candle for _, candle in rivals}) > 1:
            rule = "an answer holds one value for a slot; all its versions are refused"
            rejected += [reject(position, rule, candle.open_ms, raws[position]) for position, candle in rivals]
            continue
        candles.append(rivals[0][1])
        outside += len(rivals) - 1
    rejected.sort(key=lambda row: row.position)
    return candles, rejected, outside


def _rules(row: _Wire, series: SeriesKey) -> Iterator[tuple[bool, str, object]]:
    """Every hard rule as ``(holds, rule, value)``; later rules may rely on the earlier ones."""
    length = series.interval.milliseconds
    yield row.s == series.coin, f"s is the asked coin {series.coin}", row.s
    yield row.i == series.interval.value, f"i is the asked interval {series.interval}", row.i
    yield is_instant(row.t), "t lies between 1970 and 2100", row.t
    yield row.t % length == 0, f"t is a multiple of {length} ms", row.t
    yield row.t + length - 1 == row.T, f"T is t + {length} - 1", row.T
    for name, text in zip("ohlcv", (row.o, row.h, row.l, row.c, row.v), strict=True):
        yield is_decimal(text), f"{name}: {DECIMAL_RULE}", text
    o, h, low, c, v = map(Decimal, (row.o, row.h, row.l, row.c, row.v))
    yield low > 0, "l is above 0", row.l
    yield h >= max(o, c), "h is at least o and c", f"h {row.h}, o {row.o}, c {row.c}"
    yield low <= min(o, c), "l is at most o and c", f"l {row.l}, o {row.o}, c {row.c}"
    yield 0 <= row.n <= MOST_TRADES, f"n is between 0 and {MOST_TRADES}", row.n
    yield row.n > 0 or v == 0, "n = 0 means v = 0", f"n {row.n}, v {row.v}"


def decode_live_candle(raw: bytes) -> tuple[SeriesKey, Candle] | RejectedRow:
    """One candle as the stream sends it, by the same rules; the series is the one it names."""
    row = read_row(msgspec.Raw(raw), _ROW)
    if isinstance(row, str):
        return reject(0, row, offender(msgspec.Raw(raw), row), raw)
    if row.i not in _INTERVALS:
        return reject(0, "i is an interval that is collected", row.i, raw)
    series = SeriesKey(row.s, Interval(row.i))
    broken = first_broken(_rules(row, series))
    if broken is not None:
        return reject(0, *broken, raw)
    return series, Candle(row.t, row.o, row.h, row.l, row.c, row.v, row.n)
