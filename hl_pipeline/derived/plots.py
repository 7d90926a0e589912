"""Small pictures for asset metadata: a coverage strip and a candle chart, as markdown that needs no other file.

Dagster's UI shows ``![alt](data:image/svg+xml;base64,...)`` as a picture; inline ``<svg>`` and ``<img>`` tags are
stripped by its sanitiser. Markdown of 1000 characters or more hides behind a "[Show Markdown]" link (webserver
1.13.27), so the pictures are drawn to stay below that: base64 adds a third, which leaves 700 bytes of SVG.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby

from hl_pipeline.model.candle import Candle

#: From here on the UI hides markdown behind a link.
SHOWN_AT_ONCE = 1000
_COLOURS = {"final": "#2a7", "empty": "#9cb", "provisional": "#fc5", "missing": "#d43", "lost": "#555", "none": "#eee"}
_WIDTH, _HEIGHT = 300, 60


def coverage_strip(states: Sequence[str], alt: str = "coverage") -> str:
    """One bar, a bucket for each state, oldest left: final, empty, provisional, missing, lost or none (out of reach).

    Neighbours in the same state are one rectangle, so a whole series is tiny; a very broken one is still correct
    but may exceed what the UI shows at once.

    Raises:
        ValueError: a state is not one of the six.
    """
    if unknown := set(states) - set(_COLOURS):
        raise ValueError(f"{sorted(unknown)} are not states of a slot; use {', '.join(_COLOURS)}")
    count = max(1, len(states))
    paths: dict[str, str] = {}
    at = 0
    for state, run in groupby(states):
        length = len(list(run))
        paths[state] = paths.get(state, "") + f"M{at} 0h{length}v1H{at}"
        at += length
    body = "".join(f'<path fill="{_COLOURS[state]}" d="{path}"/>' for state, path in paths.items())
    return _markdown(body, alt, f'width="{_WIDTH}" height="16" viewBox="0 0 {count} 1" preserveAspectRatio="none"')


def candle_chart(candles: Sequence[Candle], alt: str = "candles", last: int = 24) -> str:
    """The last candles as wicks and bodies, green when the close is not below the open. Empty text without candles.

    At most ``last`` candles; fewer when the picture would not be shown at once.
    """
    shown = candles[-last:]
    while shown and len(picture := _drawn(shown, alt)) >= SHOWN_AT_ONCE:
        shown = shown[1:]
    return picture if shown else ""


def _drawn(shown: Sequence[Candle], alt: str) -> str:
    top, bottom = max(float(c.high) for c in shown), min(float(c.low) for c in shown)
    scale = (_HEIGHT - 2) / ((top - bottom) or 1.0)
    paths = {"#2a7": "", "#d43": ""}
    for at, candle in enumerate(shown):
        opened, high, low, close = (
            round((top - float(price)) * scale) + 1 for price in (candle.open, candle.high, candle.low, candle.close)
        )
        body_top, body = min(opened, close), max(1, abs(opened - close))
        colour = "#2a7" if float(candle.close) >= float(candle.open) else "#d43"
        paths[colour] += f"M{at * 6 + 3} {high}V{low}m-1 {body_top - low}v{body}h2v-{body}"
    body_text = "".join(f'<path stroke="{c}" fill="{c}" d="{path}"/>' for c, path in paths.items() if path)
    return _markdown(body_text, alt, f'width="{len(shown) * 12}" height="120" viewBox="0 0 {len(shown) * 6} {_HEIGHT}"')


def _markdown(body: str, alt: str, size: str) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'
    return f"![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
