"""Frames that no client should trust, made from honest ones."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from hl_pipeline.sandbox.subscriptions import GREETING

Wire = dict[str, Any]
#: More than the 4 MiB that careful clients allow.
BIG_BYTES = 4 * 1024 * 1024 + 1


def big_frame(size: int) -> str:
    """A JSON message of ``size`` bytes; a little over 4 MiB if that is 0."""
    shell = '{"channel":"big","data":""}'
    return shell[:-2] + "x" * ((size or BIG_BYTES) - len(shell)) + shell[-2:]


def _with(**fields: object) -> Callable[[Wire], object]:
    """The frame with other fields in its data; what has no candle in it gets a made-up one."""
    return lambda frame: {"channel": "candle", "data": {**frame["data"], **fields}}


def _without_close(frame: Wire) -> object:
    return {"channel": "candle", "data": {name: value for name, value in frame["data"].items() if name != "c"}}


#: Each is a lie of another kind: text, shape, type, number, name, grid.
_LIES: tuple[Callable[[Wire], object], ...] = (
    lambda _: GREETING,
    lambda _: '{"channel":"candle","data":',
    lambda _: "\U0001f680 to the moon",
    lambda _: {"channel": "notYetInvented", "data": {"x": 1}},
    lambda _: {"channel": "candle", "data": None},
    lambda _: {"data": {}},
    lambda _: [1, 2, 3],
    lambda _: None,
    _with(c="NaN"),
    _with(h="Infinity"),
    _with(n="12"),
    _with(t="soon"),
    _with(s="NOSUCHCOIN"),
    _with(i="7m"),
    _with(o="1_0"),
    _with(v="-1.0"),
    _with(h="0.0000001"),
    _with(n=0, v="1.5"),
    lambda frame: _with(t=frame["data"].get("t", 0) + 1)(frame),
    _without_close,
    lambda frame: json.dumps(frame).encode(),
)
_MADE_UP = {
    "channel": "candle",
    "data": {
        "t": 0, "T": 59_999, "s": "BTC", "i": "1m", "o": "1.0", "c": "1.0", "h": "1.0", "l": "1.0", "v": "1.0", "n": 1,
    },
}  # fmt: skip


class Garbage:
    """One lie after another, in a fixed order."""

    def __init__(self) -> None:
        self._lies = itertools.cycle(_LIES)

    def next(self, honest: str) -> str | bytes:
        """A lie about the candle that an honest frame tells of; bytes go out as a binary frame."""
        frame = json.loads(honest)
        lie = next(self._lies)(frame if frame["channel"] == "candle" else _MADE_UP)
        return lie if isinstance(lie, str | bytes) else json.dumps(lie)
