"""Small pictures for asset metadata: coverage, candles, lines and bars, as markdown that needs no other file.

Dagster's UI shows ``![alt](data:image/svg+xml;base64,...)`` as a picture; inline ``<svg>`` and ``<img>`` tags are
stripped by its sanitiser. Markdown of 1000 characters or more hides behind a "[Show Markdown]" link (webserver
1.13.27), so the pictures are drawn to stay below that: base64 adds a third, which leaves 700 bytes of SVG.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.span import Span

#: From here on the UI hides markdown behind a link.
SHOWN_AT_ONCE = 1000
#: A slot's states, and how each is drawn everywhere.
COLOURS = {"final": "#2a7", "empty": "#9cb", "provisional": "#fc5", "missing": "#d43", "lost": "#555", "none": "#eee"}
#: Who spends request weight; any other lane is grey.
LANE_COLOURS = {"live": "#27a", "gap": "#fa3", "urgent_gap": "#d43", "backfill": "#86b", "funding": "#2a7"}
OTHER_LANE_COLOUR = "#999"
#: Below it there is nothing to see, and the scale would leave what a float can hold.
_LEAST_TOP = 1e-9
_WIDTH, _HEIGHT = 300, 60
#: One day of the heat map, and the width of the market's name before it, in its own units.
_DAY, _ROW, _NAME = 7, 9, 48
_NAME_LETTERS = 9


def coverage_strip(states: Sequence[str], alt: str = "coverage") -> str:
    """One bar, a bucket for each state, oldest left: final, empty, provisional, missing, lost or none (out of reach).

    Neighbours in the same state are one rectangle, so a whole series is tiny; a very broken one is still correct
    but may exceed what the UI shows at once.

    Raises:
        ValueError: a state is not one of the six.
    """
    _known(states)
    count = max(1, len(states))
    paths: dict[str, str] = {}
    at = 0
    for state, run in groupby(states):
        length = len(list(run))
        paths[state] = paths.get(state, "") + f"M{at} 0h{length}v1H{at}"
        at += length
    body = "".join(f'<path fill="{COLOURS[state]}" d="{path}"/>' for state, path in paths.items())
    return _markdown(body, alt, f'width="{_WIDTH}" height="16" viewBox="0 0 {count} 1" preserveAspectRatio="none"')


def heat_map(rows: Sequence[tuple[str, Sequence[str]]], alt: str = "coverage by market and day") -> str:
    """One line a market, one cell a day, oldest left; ``rows`` are ``(name, states)``. Empty text without rows.

    Only as many lines from the top as the UI shows at once, so put those first that need a look.

    Raises:
        ValueError: a state is not one of the six.
    """
    for _, states in rows:
        _known(states)
    return _largest(len(rows), lambda count: _heat(rows[:count], alt))


def candle_chart(
    candles: Sequence[Candle],
    alt: str = "candles",
    last: int = 24,
    *,
    step_ms: int | None = None,
    shaded: Sequence[tuple[str, Span]] = (),
) -> str:
    """The last candles as wicks and bodies, green when the close is not below the open. Empty text without candles.

    With ``step_ms`` each stands at its time, and the spans of ``shaded`` (a slot's state, where) are coloured behind
    them: missing red, lost grey. At most ``last`` candles; fewer when the picture would not be shown at once.
    """
    shown = candles[-last:]
    return _largest(len(shown), lambda count: _candles(shown[-count:], alt, step_ms, shaded))


def line_chart(
    lines: Sequence[tuple[str, Sequence[float | None]]], alt: str = "history", *, low: float = 0.0, high: float = 1.0
) -> str:
    """Values over equal times, oldest left; ``lines`` are ``(colour, values)``, a null breaks its line.

    The frame is ``low`` to ``high``. Every second value, or fewer, when all would not be shown at once; empty text
    when there is no value.
    """
    if all(value is None for _, values in lines for value in values):
        return ""
    longest = max(len(values) for _, values in lines)
    every = 1
    while len(picture := _lines(lines, alt, every, low, high)) >= SHOWN_AT_ONCE and every < longest:
        every *= 2
    return picture


def stacked_bars(columns: Sequence[Mapping[str, float]], alt: str = "use", *, top: float) -> str:
    """One bar a column, oldest left, its lanes on each other; the frame's upper edge is ``top``.

    Neighbours are drawn as their mean when all would not be shown at once; empty text without columns.
    """
    while columns and len(picture := _bars(columns, alt, top)) >= SHOWN_AT_ONCE and len(columns) > 1:
        columns = [_mean(columns[at : at + 2]) for at in range(0, len(columns), 2)]
    return picture if columns else ""


def _known(states: Sequence[str]) -> None:
    if unknown := set(states) - set(COLOURS):
        raise ValueError(f"{sorted(unknown)} are not states of a slot; use {', '.join(COLOURS)}")


def _largest(most: int, draw: Callable[[int], str]) -> str:
    """The picture of the most things that the UI still shows at once; empty when not even one fits."""
    for count in range(most, 0, -1):
        if len(picture := draw(count)) < SHOWN_AT_ONCE:
            return picture
    return ""


def _heat(rows: Sequence[tuple[str, Sequence[str]]], alt: str) -> str:
    paths: dict[str, str] = {}
    names = ""
    for number, (name, states) in enumerate(rows):
        top = number * _ROW
        names += f'<text y="{top + 7}">{_label(name)}</text>'
        at = _NAME
        for state, run in groupby(states):
            width = len(list(run)) * _DAY
            paths[state] = paths.get(state, "") + f"M{at} {top}h{width}v8H{at}"
            at += width
    body = "".join(f'<path fill="{COLOURS[state]}" d="{path}"/>' for state, path in paths.items())
    days = max(len(states) for _, states in rows)
    width, height = _NAME + days * _DAY, len(rows) * _ROW
    size = f'width="{2 * width}" height="{2 * height}" viewBox="0 0 {width} {height}"'
    return _markdown(f'<g font-family="sans-serif" font-size="7">{names}</g>{body}', alt, size)


def _label(name: str) -> str:
    """As much of a name as there is room for; what SVG cannot hold is a question mark."""
    return escape("".join(letter if letter.isprintable() else "?" for letter in name[:_NAME_LETTERS]))


def _candles(shown: Sequence[Candle], alt: str, step_ms: int | None, shaded: Sequence[tuple[str, Span]]) -> str:
    top, bottom = max(float(c.high) for c in shown), min(float(c.low) for c in shown)
    scale = (_HEIGHT - 2) / ((top - bottom) or 1.0)
    first, last = shown[0].open_ms, shown[-1].open_ms
    paths = {"#2a7": "", "#d43": ""}
    for number, candle in enumerate(shown):
        at = number if step_ms is None else (candle.open_ms - first) // step_ms
        opened, high, low, close = (
            round((top - float(price)) * scale) + 1 for price in (candle.open, candle.high, candle.low, candle.close)
        )
        body_top, body = min(opened, close), max(1, abs(opened - close))
        colour = "#2a7" if float(candle.close) >= float(candle.open) else "#d43"
        paths[colour] += f"M{at * 6 + 3} {high}V{low}m-1 {body_top - low}v{body}h2v-{body}"
    slots = len(shown) if step_ms is None else (last - first) // step_ms + 1
    behind = "" if step_ms is None else _shades(shaded, Span(first, last + step_ms), step_ms)
    body_text = behind + "".join(f'<path stroke="{c}" fill="{c}" d="{path}"/>' for c, path in paths.items() if path)
    return _markdown(body_text, alt, f'width="{slots * 12}" height="120" viewBox="0 0 {slots * 6} {_HEIGHT}"')


def _shades(shaded: Sequence[tuple[str, Span]], within: Span, step_ms: int) -> str:
    """Bands behind the candles where there is none; neighbours in one state are one band."""
    paths: dict[str, str] = {}
    for state, span in shaded:
        start, end = max(span.start_ms, within.start_ms), min(span.end_ms, within.end_ms)
        if start < end:
            left, width = (start - within.start_ms) // step_ms * 6, -(-(end - start) // step_ms) * 6
            paths[state] = paths.get(state, "") + f"M{left} 0h{width}v{_HEIGHT}H{left}"
    return "".join(f'<path fill="{COLOURS[state]}" opacity=".3" d="{path}"/>' for state, path in paths.items())


def _lines(lines: Sequence[tuple[str, Sequence[float | None]]], alt: str, every: int, low: float, high: float) -> str:
    scale = (_HEIGHT - 4) / ((high - low) or 1.0)
    body = ""
    for colour, values in lines:
        path, pen = "", "M"
        kept = values[::-1][::every][::-1]
        for at, value in enumerate(kept):
            if value is None:
                pen = "M"
                continue
            x = round(at * (_WIDTH - 4) / max(1, len(kept) - 1)) + 2
            y = round((high - min(max(value, low), high)) * scale) + 2
            path += f"{pen}{x} {y}" + ("h1" if pen == "M" else "")
            pen = "L"
        body += f'<path stroke="{colour}" d="{path}"/>' if path else ""
    frame = f'<path stroke="#bbb" d="M0 1H{_WIDTH}M0 {_HEIGHT - 1}H{_WIDTH}"/>'
    # x in units of the picture, so that the strokes keep their width
    size = f'width="{_WIDTH}" height="120" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
    return _markdown(f'<g fill="none">{frame}{body}</g>', alt, size)


def _bars(columns: Sequence[Mapping[str, float]], alt: str, top: float) -> str:
    scale = _HEIGHT / top if top > _LEAST_TOP else 1.0
    paths: dict[str, str] = {}
    for number, column in enumerate(columns):
        below = 0.0
        for lane, value in column.items():
            high = round(min(below + value, top) * scale) - round(min(below, top) * scale)
            base = _HEIGHT - round(min(below, top) * scale)
            if high > 0:
                paths[lane] = paths.get(lane, "") + f"M{number} {base}h1v-{high}h-1"
            below += value
    body = "".join(
        f'<path fill="{LANE_COLOURS.get(lane, OTHER_LANE_COLOUR)}" d="{path}"/>' for lane, path in paths.items()
    )
    count = len(columns)
    frame = f'<path fill="#eee" d="M0 0H{count}V{_HEIGHT}H0"/>'
    size = f'width="{_WIDTH}" height="120" viewBox="0 0 {count} {_HEIGHT}" preserveAspectRatio="none"'
    return _markdown(frame + body, alt, size)


def _mean(columns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    lanes = {lane: None for column in columns for lane in column}
    return {lane: sum(column.get(lane, 0.0) for column in columns) / len(columns) for lane in lanes}


def _markdown(body: str, alt: str, size: str) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'
    plain = "".join(letter if letter not in "[]\\\n" else " " for letter in alt)
    return f"![{plain}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
