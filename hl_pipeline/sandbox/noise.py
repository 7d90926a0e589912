"""Random numbers and a random walk that can be read at any index without reading what came before.

A stream is named by a key; its value at an index is the splitmix64 hash of key
and index. The walk is value noise summed over scales: at scale ``4**level`` it
draws a knot every ``4**level`` minutes, grows with the square root of the scale
as a random walk does, and runs straight between knots.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Uints = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(bits) for bits in (30, 27, 31, 11))
_TO_UNIT = 2.0**-53

#: Scales of the walk: knots every 1, 4, 16 ... 4**10 minutes (two years).
LEVELS = 11


def stream_key(*words: object) -> int:
    """A 64-bit key for a stream, the same in every process."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def hashes(key: int, index: Ints) -> Uints:
    """splitmix64 of ``key`` at each index."""
    with np.errstate(over="ignore"):
        state = np.uint64(key) + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        state = (state ^ (state >> _S30)) * _MIX_1
        state = (state ^ (state >> _S27)) * _MIX_2
        return np.asarray(state ^ (state >> _S31), dtype=np.uint64)


def uniforms(key: int, index: Ints) -> Floats:
    """Numbers in [0, 1), one per index."""
    return (hashes(key, index) >> _S11).astype(np.float64) * _TO_UNIT


def walk(keys: list[int], first: int, count: int) -> Floats:
    """The walk at minutes ``first .. first + count - 1``; one key per level, unit volatility a minute."""
    index = np.arange(first, first + count, dtype=np.int64)
    total = np.zeros(count)
    for level, key in enumerate(keys):
        step = 4**level
        knots = np.arange(first // step, (first + count - 1) // step + 2, dtype=np.int64)
        heights = uniforms(key, knots) * 2.0 - 1.0
        whole = index // step
        at = whole - knots[0]
        part = (index - whole * step) / step
        total += 2.0**level * (heights[at] * (1.0 - part) + heights[at + 1] * part)
    return total
