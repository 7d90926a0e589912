"""One market's trades as they come: which frames a minute has, and what each of them says."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.noise import stream_key
from hl_pipeline.sandbox.path import Minute, Numbers, add, minute_of
from hl_pipeline.sandbox.truth import BLOCK_MS, Truth, decimal_text, numbers_of
from hl_pipeline.sandbox.wire import candle_text
from hl_pipeline.sandbox.world import STEPS_MS, Manners

_HOUR_MS = 60 * MINUTE_MS


class Tape:
    """Reads one market's minutes in order. ``open_ms`` is the minute it stands in."""

    def __init__(self, truth: Truth, coin: str) -> None:
        self.coin = coin
        self.open_ms = -1
        self._truth = truth
        self._market = truth.markets[coin]
        self._key = truth.trades_key(coin)
        self._hour: tuple[int, dict[int, Numbers]] = (-1, {})
        self._before: dict[int, tuple[int, int, Numbers | None]] = {}
        self._minute: Minute | None = None
        self._instants: list[int] = []
        self._shown: list[int] = []
        self._at = 0
        self._fresh = (0, 0)

    def turn(self, open_ms: int, manners: Manners) -> None:
        """Stand at the start of the minute that opens at ``open_ms``."""
        self.open_ms = open_ms
        row = self._row(open_ms)
        self._minute = minute_of(row, self._key, open_ms) if row else None
        times = self._minute.times if self._minute else []
        self._shown = frame_times(times, manners.frame_gap_ms, manners.missed_tail_ms)
        # a trade without a candle frame is still a trade
        self._instants = self._shown + [time for time in times[-1:] if self._shown[-1] < time]
        self._at, self._fresh = 0, (0, 0)

    def next_after(self, elapsed_ms: int) -> int | None:
        """The first instant after ``elapsed_ms`` into the minute at which there is something to tell."""
        at = bisect_right(self._instants, elapsed_ms)
        return self._instants[at] if at < len(self._instants) else None

    def advance(self, elapsed_ms: int) -> bool:
        """Move on to ``elapsed_ms`` into the minute; whether the candle is to be told again."""
        before, self._at = self._at, bisect_right(self._shown, elapsed_ms)
        self._fresh = (self._fresh[1], self._minute.count_at(elapsed_ms) if self._minute else 0)
        return self._at > before

    def candle(self, interval: str) -> str | None:
        """The ``candle`` frame as last told; ``None`` if the slot has had no trade yet."""
        step = STEPS_MS[interval]
        minute = self._minute
        sofar = minute.after(minute.count_at(self._shown[self._at - 1])) if minute and self._at else None
        numbers = add(self._sum_before(step), sofar)
        if numbers is None:
            return None
        return _framed("candle", candle_text(self._market, interval, self.open_ms - self.open_ms % step, numbers))

    def trades(self) -> str | None:
        """A ``trades`` frame of what the last advance passed; ``None`` if that was nothing."""
        if self._minute is None or self._fresh[0] == self._fresh[1]:
            return None
        trades = [self._trade(self._minute, number + 1) for number in range(*self._fresh)]
        return _framed("trades", msgspec.json.encode(trades).decode())

    def _trade(self, minute: Minute, number: int) -> dict[str, object]:
        draw = stream_key("trade", self._key, self.open_ms, number)
        return {
            "coin": self.coin,
            "side": "AB"[draw % 2],
            "px": decimal_text(minute.price(number), self._market.price_decimals),
            "sz": decimal_text(minute.size(number), self._market.sz_decimals),
            "time": self.open_ms + minute.times[number - 1],
            "hash": f"0x{draw:064x}",
            "tid": draw % (1 << 50),
            "users": [f"0x{draw:040x}", f"0x{draw ^ 1:040x}"],
        }

    def _sum_before(self, step: int) -> Numbers | None:
        """The trades of the slot before this minute."""
        slot = self.open_ms - self.open_ms % step
        kept, upto, total = self._before.get(step, (-1, -1, None))
        if kept != slot or upto > self.open_ms:
            upto, total = slot, None
        for open_ms in range(upto, self.open_ms, MINUTE_MS):
            row = self._row(open_ms)
            total = add(total, row if row and row.trades else None)
        self._before[step] = (slot, self.open_ms, total)
        return total

    def _row(self, open_ms: int) -> Numbers | None:
        """The minute's final numbers; kept by the hour, for the truth's own memory is short for many markets."""
        hour = open_ms - open_ms % _HOUR_MS
        if self._hour[0] != hour:
            rows = self._truth.block(self.coin, MINUTE_MS, hour // BLOCK_MS).between(hour, hour + _HOUR_MS)
            opens = rows.open_ms.tolist()
            self._hour = (hour, {at: numbers_of(rows, i) for i, at in enumerate(opens)})
        return self._hour[1].get(open_ms)


def frame_times(times: list[int], gap_ms: int, missed_tail_ms: int) -> list[int]:
    """When a minute's candle is told, in ms since its start: after the last trade of each ``gap_ms``.

    Trades in the last ``missed_tail_ms`` are left out, unless the minute has no
    others. Two trades at different times are two frames at least.
    """
    shown = [time for time in times if time < MINUTE_MS - missed_tail_ms] or times
    last_of = {time // gap_ms: time for time in shown}
    instants = list(last_of.values())
    return [shown[0], *instants] if len(instants) == 1 and shown[0] < instants[0] else instants


def _framed(channel: str, data: str) -> str:
    return f'{{"channel":"{channel}","data":{data}}}'
