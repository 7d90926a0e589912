"""A picture of a page in at most 256 colours: a quarter of the bytes, and nobody sees it.

The browser reads the pixels and counts the colours; what is left to write is short.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from itertools import pairwise

from benchmarks.browser import Page

# the most frequent colours stay as they are, every other becomes the nearest of them
_COUNT = """
(async () => {
  const blob = await (await fetch('data:image/png;base64,' + PICTURE)).blob();
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), pen = canvas.getContext('2d');
  pen.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(pen.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 256).map(([pixel]) => pixel);
  const parts = pixel => [pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255];
  const known = palette.map(parts), nearest = new Map();
  for (const pixel of counts.keys()) {
    const [r, g, b] = parts(pixel);
    let best = 0, least = Infinity;
    known.forEach(([x, y, z], at) => {
      const far = (x - r) ** 2 + (y - g) ** 2 + (z - b) ** 2;
      if (far < least) { least = far; best = at; }
    });
    nearest.set(pixel, best);
  }
  let text = '';
  for (const pixel of pixels) text += String.fromCharCode(nearest.get(pixel));
  return JSON.stringify({width: bitmap.width, height: bitmap.height, palette: known, pixels: btoa(text)});
})()
"""


def in_few_colours(page: Page, picture: bytes) -> bytes:
    """The PNG with a palette; ``page`` is led away from where it was."""
    page.open("about:blank")
    found = json.loads(page.tell(_COUNT.replace("PICTURE", json.dumps(base64.b64encode(picture).decode()))))
    width, height = found["width"], found["height"]
    pixels = base64.b64decode(found["pixels"])
    rows = b"".join(b"\0" + pixels[start:end] for start, end in pairwise(range(0, width * height + 1, width)))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(part for colour in found["palette"] for part in colour)),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
