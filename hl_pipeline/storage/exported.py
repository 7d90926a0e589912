"""What is known of a file that holds an exported month. Without Arrow, which takes a moment to load."""

from __future__ import annotations

from dataclasses import dataclass

#: The relations that are exported, and the folder of each below that of exports.
FOLDERS = {"candle": "candles", "market_context": "market_contexts"}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was read back. ``file`` is relative to the folder of exports; ``sha256`` in hex."""

    interval: str | None
    file: str
    rows: int
    bytes: int
    sha256: str
    content: int
    exported_ms: int
