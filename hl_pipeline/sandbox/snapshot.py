"""Which candles a request gets: the window, the newest 5000, quiet slots, and the open candle last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hl_pipeline.model.interval import WINDOW_SLOTS
from hl_pipeline.sandbox.noise import stream_key
from hl_pipeline.sandbox.truth import BLOCK_MS
from hl_pipeline.sandbox.wire import Chunk, Encoder, Row, encode
from hl_pipeline.sandbox.world import STEPS_MS, Manners, QuietMode, WindowMode, World


@dataclass(frozen=True, slots=True)
class Ask:
    """A candleSnapshot request, its instants in ms UTC, both ends inclusive as on the wire."""

    coin: str
    interval: str
    start_ms: int
    end_ms: int


#: Changes the rows of an answer: hides, revises, breaks.
Edit = Callable[[list[Row]], list[Row]]


def slots_asked(ask: Ask, now_ms: int, window: WindowMode) -> tuple[int, int]:
    """``[first, end)``: open times of the slots in the window and among the newest 5000, the open one included."""
    step = STEPS_MS[ask.interval]
    first = ask.start_ms - ask.start_ms % step
    if window is WindowMode.STRICT and first < ask.start_ms:
        first += step
    head = now_ms - now_ms % step
    oldest = head - (WINDOW_SLOTS - 1) * step
    last = min(ask.end_ms - ask.end_ms % step, head)
    return max(first, oldest), last + step


def candle_snapshot(
    world: World, encoder: Encoder, manners: Manners, ask: Ask, now_ms: int, edit: Edit | None = None
) -> tuple[bytes, int]:
    """The answer's body and how many rows it holds, as the exchange would send it at ``now_ms``."""
    step = STEPS_MS[ask.interval]
    first, end = slots_asked(ask, now_ms, manners.window)
    life_first, life_end = world.truth.life(ask.coin)
    first, end = max(first, life_first - life_first % step), min(end, life_end)
    head = now_ms - now_ms % step
    chunks = encoder.chunks(ask.coin, ask.interval, first, min(end, head)) if first < min(end, head) else []
    tail = _open_rows(world, ask, now_ms) if first <= head < end else []
    closed_end = min(end, head)
    if edit is None:
        # rows that nothing can change are sent as encoded; only the newest few are looked at one by one
        looked_at = max(first, _settled_before(world, manners, ask, now_ms))
        parts, count = _sliced(chunks, first, min(looked_at, closed_end))
        rows = [row for chunk in chunks for row in _rows(chunk, looked_at, closed_end)] + tail
        rows = _published(world, manners, ask, rows, now_ms)
        return b"[" + b"".join([*parts, *(row.text + b"," for row in rows)])[:-1] + b"]", count + len(rows)
    rows = [row for chunk in chunks for row in _rows(chunk, first, closed_end)] + tail
    rows = edit(_published(world, manners, ask, rows, now_ms))
    return b"[" + b",".join(row.text for row in rows) + b"]", len(rows)


def true_row(world: World, ask: Ask, open_ms: int) -> Row | None:
    """The closed candle of the asked series that opens at ``open_ms``, or none outside the market's life."""
    step = STEPS_MS[ask.interval]
    columns = world.truth.block(ask.coin, step, open_ms // BLOCK_MS).between(open_ms, open_ms + step)
    return next(iter(encode(world.truth.markets[ask.coin], ask.interval, columns)), None)


def _open_rows(world: World, ask: Ask, now_ms: int) -> list[Row]:
    columns = world.truth.open_candle(ask.coin, STEPS_MS[ask.interval], now_ms)
    return encode(world.truth.markets[ask.coin], ask.interval, columns)


def _sliced(chunks: list[Chunk], first: int, end: int) -> tuple[list[bytes], int]:
    parts, count = [], 0
    for chunk in chunks:
        low, high = chunk.between(first, end)
        if low < high:
            parts.append(chunk.body[chunk.offsets[low] : chunk.offsets[high]])
            count += high - low
    return parts, count


def _rows(chunk: Chunk, first: int, end: int) -> list[Row]:
    low, high = chunk.between(first, end)
    body, offsets = chunk.body, chunk.offsets
    return [Row(chunk.opens_ms[i], chunk.trades[i], body[offsets[i] : offsets[i + 1] - 1]) for i in range(low, high)]


def _settled_before(world: World, manners: Manners, ask: Ask, now_ms: int) -> int:
    """Slots that open before this instant are published as they are, whether traded or quiet."""
    if manners.quiet is QuietMode.DENSE or world.truth.markets[ask.coin].quiet == 0.0:
        return now_ms
    if manners.quiet is QuietMode.SPARSE:
        return 0
    return now_ms - manners.quiet_lag_ms - STEPS_MS[ask.interval]


def _published(world: World, manners: Manners, ask: Ask, rows: list[Row], now_ms: int) -> list[Row]:
    """The rows without those quiet ones that are not sent, or not yet; reference prices before a listing always are."""
    if manners.quiet is QuietMode.DENSE:
        return rows
    market = world.truth.markets[ask.coin]
    if manners.quiet is QuietMode.SPARSE:
        return [row for row in rows if row.trades or row.open_ms < market.listed_ms]
    step, lag = STEPS_MS[ask.interval], manners.quiet_lag_ms

    def appears_ms(row: Row) -> int:
        draw = stream_key("late", world.seed, ask.coin, ask.interval, row.open_ms)
        return row.open_ms + step + lag // 3 + draw % max(1, lag - lag // 3)

    return [row for row in rows if row.trades or row.open_ms < market.listed_ms or now_ms >= appears_ms(row)]
