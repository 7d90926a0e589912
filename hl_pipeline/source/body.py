"""Reading a whole answer's bytes with a cap on what arrives and on what it unpacks to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """The body of one answer, unpacked.

    Raises:
        BadAnswer: larger than ``max_bytes`` (packed or unpacked), or in an encoding nobody asked for.
        ExchangeUnavailable: a packed body that ends before its end.
    """
    if encoding in ("", "identity"):
        return b"".join(_capped(chunks, max_bytes))
    if encoding not in ("gzip", "x-gzip"):
        raise BadAnswer(f"the body is encoded as {encoding[:20]!r}, only gzip was offered; look at what answers there")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    parts: list[bytes] = []
    size = 0
    for chunk in _capped(chunks, max_bytes):
        try:
            part = unpacker.decompress(chunk, max_bytes - size + 1)
        except zlib.error as error:
            raise BadAnswer(f"the body says gzip and is not: {error}; asking again may help") from error
        size += len(part)
        if size > max_bytes or unpacker.unconsumed_tail:
            raise _too_large(max_bytes)
        parts.append(part)
    if not unpacker.eof:
        raise ExchangeUnavailable(f"the packed body broke off after {size} bytes; asking again may help")
    return b"".join(parts)


def _capped(chunks: Iterable[bytes], max_bytes: int) -> Iterable[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> BadAnswer:
    return BadAnswer(
        f"the body is larger than {max_bytes} bytes, the cap for one answer; a full candle answer has under 2 MB. "
        "Look at what the endpoint serves, or raise max_body_bytes"
    )
