"""What really happened: every market's candles, a pure function of seed, coin and minute.

Nothing is generated before it: any window of any series is computed from the
minutes inside it, in blocks of four days. Prices and volumes are integers
here (units of the market's last decimal), so coarser candles are exact sums
and extremes of the minutes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.sandbox import noise
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.noise import Floats, Ints
from hl_pipeline.sandbox.path import Numbers, minute_of

BLOCK_MINUTES = 4 * 1440
BLOCK_MS = BLOCK_MINUTES * MINUTE_MS
_DAY_MINUTES = 1440
#: Volumes carry ten decimals at most: "3495670.8399999999" is float noise of one unit in the tenth.
VOLUME_DECIMALS = 10
_KEPT_BLOCKS = 200
_FAR = np.int64(2**62)
_POWERS = 10 ** np.arange(19, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Columns:
    """Candles of one series as columns; prices in units of the market's last price decimal.

    ``volume`` is in units of the last size decimal, ``dust`` in units of 1e-10
    coins on top: the noise of a float sum.
    """

    open_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    dust: Ints
    trades: Ints

    def __len__(self) -> int:
        return len(self.open_ms)

    def rows(self, first: int, last: int) -> Columns:
        """Rows ``first .. last - 1``."""
        return Columns(*(getattr(self, name)[first:last] for name in self.__slots__))

    def between(self, start_ms: int, end_ms: int) -> Columns:
        """Rows that open in ``[start_ms, end_ms)``."""
        first, last = np.searchsorted(self.open_ms, [start_ms, end_ms])
        return self.rows(int(first), int(last))


class Truth:
    """The candles as they end up, past and future alike; safe to ask from any thread.

    It knows no clock, no window and no fault. ``history_start_ms``, if set, is
    the instant before which no market has candles.
    """

    def __init__(self, seed: int, markets: Iterable[MarketSpec], history_start_ms: int | None = None) -> None:
        self.seed = seed
        self.markets = {market.coin: market for market in markets}
        self._history_start_ms = history_start_ms
        self._blocks: OrderedDict[tuple[str, int], Columns] = OrderedDict()
        self._keys: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def life(self, coin: str) -> tuple[int, int]:
        """``[first, end)`` in ms: where the coin's candles begin and end; whole minutes, end far off while listed."""
        market = self.markets[coin]
        first = market.listed_ms if market.reference_ms is None else market.reference_ms
        if self._history_start_ms is not None:
            first = max(first, self._history_start_ms)
        end = int(_FAR) if market.delisted_ms is None else market.delisted_ms
        return first - first % MINUTE_MS, end - end % MINUTE_MS

    def candles(self, coin: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
        """Final candles that open in ``[start_ms, end_ms)``, oldest first; volumes are exact decimals.

        Raises:
            KeyError: no such coin in this world.
        """
        market = self.markets[coin]
        first_ms, life_end_ms = self.life(coin)
        start_ms, end_ms = max(start_ms, interval.floor(first_ms)), min(end_ms, life_end_ms)
        found: list[Candle] = []
        for block in range(start_ms // BLOCK_MS, -(-end_ms // BLOCK_MS)):
            columns = self.block(coin, interval.milliseconds, block).between(start_ms, end_ms)
            found.extend(as_candles(market, columns))
        return found

    def block(self, coin: str, step_ms: int, number: int) -> Columns:
        """Candles ``step_ms`` long (a divisor of a day) of the four days that start at ``number * BLOCK_MS``."""
        minutes = self._minutes(coin, number)
        return minutes if step_ms == MINUTE_MS else merge(minutes, step_ms)

    def open_candle(self, coin: str, step_ms: int, now_ms: int) -> Columns:
        """The candle that is open at ``now_ms``, from what has happened so far; one row, or none outside its life.

        Same open as in the end; high, volume and trades only grow.
        """
        start = now_ms - now_ms % step_ms
        minute = now_ms - now_ms % MINUTE_MS
        minutes = self._minutes(coin, start // BLOCK_MS)
        done = minutes.between(start, minute)
        running = partial_minute(minutes.between(minute, minute + MINUTE_MS), now_ms - minute, self.trades_key(coin))
        sofar = Columns(*(np.concatenate([getattr(done, n), getattr(running, n)]) for n in Columns.__slots__))
        return merge(sofar, step_ms)

    def trades_key(self, coin: str) -> int:
        """The stream that says when within a minute the coin's trades come; for ``path.minute_of``."""
        return self._key(self.markets[coin], "trade times")

    def price_at(self, coin: str, now_ms: int) -> Floats:
        """The walk's price at the minute of ``now_ms`` (one number): what a mid price is quoted around."""
        return self._path(self.markets[coin], now_ms // MINUTE_MS, 1)

    def _minutes(self, coin: str, number: int) -> Columns:
        key = (coin, number)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        made = self._make(self.markets[coin], number)
        with self._lock:
            self._blocks[key] = made
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return made

    def _key(self, market: MarketSpec, word: str) -> int:
        key = (market.coin, word)
        if key not in self._keys:
            self._keys[key] = noise.stream_key(self.seed, market.coin, word)
        return self._keys[key]

    def _path(self, market: MarketSpec, first_minute: int, count: int) -> Floats:
        keys = [self._key(market, f"walk{level}") for level in range(noise.LEVELS)]
        return market.price * np.exp(market.volatility * noise.walk(keys, first_minute, count))

    def _make(self, market: MarketSpec, number: int) -> Columns:
        """One block of minutes, cut to the market's life."""
        first_ms, end_ms = self.life(market.coin)
        start = number * BLOCK_MS
        opens = start + np.arange(BLOCK_MINUTES, dtype=np.int64) * MINUTE_MS
        alive = slice(*(int(i) for i in np.searchsorted(opens, [first_ms, end_ms])))
        if alive.start >= alive.stop:
            return Columns(*(np.empty(0, dtype=np.int64) for _ in Columns.__slots__))
        index = opens // MINUTE_MS
        o, h, low, c = self._prices(market, index)
        quiet = self._quiet(market, index)
        quiet[alive.start] = False
        o, h, low, c = _flatten(quiet, o, h, low, c)
        volume, dust, trades = self._activity(market, index)
        silent = quiet | (opens < market.listed_ms)
        volume[silent] = dust[silent] = trades[silent] = 0
        return Columns(*(column[alive] for column in (opens, o, h, low, c, volume, dust, trades)))

    def _prices(self, market: MarketSpec, index: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        path = self._path(market, int(index[0]), len(index) + 1)
        jump = noise.uniforms(self._key(market, "open"), index)
        shift = np.where(jump < 0.55, (jump - 0.275) * 0.6 * market.volatility, 0.0)
        spread = market.volatility * 0.4
        up = noise.uniforms(self._key(market, "high"), index) * spread
        down = noise.uniforms(self._key(market, "low"), index) * spread
        o = on_tick(market, path[:-1] * (1.0 + shift))
        c = on_tick(market, path[1:])
        h = np.maximum(on_tick(market, np.maximum(path[:-1], path[1:]) * (1.0 + up)), np.maximum(o, c))
        low = np.minimum(on_tick(market, np.minimum(path[:-1], path[1:]) * (1.0 - down)), np.minimum(o, c))
        return o, h, low, c

    def _quiet(self, market: MarketSpec, index: Ints) -> np.ndarray:
        """Minutes without a trade. Slow markets also have quiet hours; each day's first minute trades."""
        quiet = noise.uniforms(self._key(market, "quiet"), index) < market.quiet
        if market.quiet > 0.25:
            quiet |= noise.uniforms(self._key(market, "quiet hour"), index // 60) < market.quiet / 4
        if market.reference_ms is not None:
            quiet &= index * MINUTE_MS >= market.listed_ms
        quiet[index % _DAY_MINUTES == 0] = False
        return np.asarray(quiet)

    def _activity(self, market: MarketSpec, index: Ints) -> tuple[Ints, Ints, Ints]:
        crowd = noise.uniforms(self._key(market, "trades"), index)
        trades = 1 + (market.trades_a_minute * (0.2 + 1.6 * crowd * crowd)).astype(np.int64)
        size = noise.uniforms(self._key(market, "size"), index)
        lots = market.coins_a_trade * 10.0**market.sz_decimals * trades * (0.05 + 1.9 * size)
        volume = np.maximum(trades, lots.astype(np.int64))
        chance = noise.hashes(self._key(market, "dust"), index) % np.uint64(4096)
        dust = np.where(chance == 0, -1, np.where(chance == 1, 1, 0)).astype(np.int64)
        return volume, dust, trades


def on_tick(market: MarketSpec, prices: Floats) -> Ints:
    """Prices in units of the last decimal, cut to five significant figures; whole numbers are always allowed."""
    unit = 10**market.price_decimals
    raw = np.maximum(np.rint(prices * unit).astype(np.int64), 1)
    digits = np.searchsorted(_POWERS, raw, side="right")
    step = _POWERS[np.clip(digits - 5, 0, market.price_decimals)]
    return np.asarray((raw + step // 2) // step * step, dtype=np.int64)


def _flatten(quiet: np.ndarray, o: Ints, h: Ints, low: Ints, c: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """A quiet minute stands still at the last close; a minute after a pause opens where the walk has come to."""
    if not quiet.any():
        return o, h, low, c
    last = np.maximum.accumulate(np.where(quiet, 0, np.arange(len(c))))
    held = c[last]
    return np.where(quiet, held, o), np.where(quiet, held, h), np.where(quiet, held, low), held


def _starts(opens: Ints, step_ms: int) -> Ints:
    """Where each slot's first row stands."""
    slot = opens - opens % step_ms
    return np.flatnonzero(np.concatenate([[True], slot[1:] != slot[:-1]]))


def merge(minutes: Columns, step_ms: int) -> Columns:
    """Exact candles ``step_ms`` long from minutes: first open, extremes, last close, sums.

    A price is a trade's: minutes without trades count only where a slot has no others.
    """
    if not len(minutes) or step_ms == MINUTE_MS:
        return minutes
    starts = _starts(minutes.open_ms, step_ms)
    traded = minutes.trades > 0
    lengths = np.diff([*starts, len(traded)])
    counts = traded | ~np.repeat(np.logical_or.reduceat(traded, starts), lengths)
    minutes = Columns(*(getattr(minutes, name)[counts] for name in Columns.__slots__))
    starts, slot = _starts(minutes.open_ms, step_ms), minutes.open_ms - minutes.open_ms % step_ms
    ends = np.concatenate([starts[1:], [len(slot)]]) - 1
    return Columns(
        slot[starts],
        minutes.open[starts],
        np.maximum.reduceat(minutes.high, starts),
        np.minimum.reduceat(minutes.low, starts),
        minutes.close[ends],
        np.add.reduceat(minutes.volume, starts),
        np.add.reduceat(minutes.dust, starts),
        np.add.reduceat(minutes.trades, starts),
    )


def partial_minute(final: Columns, elapsed_ms: int, key: int) -> Columns:
    """What a minute's candle is after ``elapsed_ms``: the same open, the rest on its way to the final values."""
    minute = minute_of(numbers_of(final, 0), key, int(final.open_ms[0])) if len(final) else None
    if minute is None:
        return final
    count = minute.count_at(elapsed_ms)
    opened = minute.final.open
    now = minute.after(count) if count else Numbers(opened, opened, opened, opened, 0, 0, 0)
    return Columns(final.open_ms, *(np.array([value], dtype=np.int64) for value in now))


def numbers_of(columns: Columns, row: int) -> Numbers:
    """One row's numbers, without its open time."""
    return Numbers(*(int(getattr(columns, name)[row]) for name in Columns.__slots__[1:]))


def decimal_text(units: int, decimals: int) -> str:
    """An integer of last-decimal units as the exchange spells it: plain, no trailing zeros, one decimal at least."""
    if decimals == 0:
        return f"{units}.0"
    text = str(units).rjust(decimals + 1, "0")
    whole, part = text[:-decimals], text[-decimals:].rstrip("0")
    return f"{whole}.{part or '0'}"


def volume_text(market: MarketSpec, volume: int, dust: int) -> str:
    """A volume as an exact decimal, float noise included."""
    if dust == 0:
        return decimal_text(volume, market.sz_decimals)
    return decimal_text(volume * 10 ** (VOLUME_DECIMALS - market.sz_decimals) + dust, VOLUME_DECIMALS)


def as_candles(market: MarketSpec, columns: Columns) -> list[Candle]:
    """Columns as the model's candles."""
    decimals = market.price_decimals
    return [
        Candle(
            t,
            decimal_text(o, decimals),
            decimal_text(h, decimals),
            decimal_text(low, decimals),
            decimal_text(c, decimals),
            volume_text(market, v, dust),
            n,
        )
        for t, o, h, low, c, v, dust, n in zip(
            *(getattr(columns, name).tolist() for name in Columns.__slots__), strict=True
        )
    ]
