from __future__ import annotations

import base64
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.derived.plots import (
    COLOURS,
    SHOWN_AT_ONCE,
    candle_chart,
    coverage_strip,
    heat_map,
    line_chart,
    stacked_bars,
)
from hl_pipeline.model.candle import Candle
from hl_pipeline.model.span import Span


def svg(markdown: str) -> ET.Element:
    return ET.fromstring(base64.b64decode(markdown.split("base64,")[1].rstrip(")")))  # noqa: S314 our own text


def candles(count: int) -> list[Candle]:
    return [
        Candle(i * 60_000, str(100 + i % 7), str(112 + i % 5), str(90 - i % 3), str(104 - i % 9), "1", 1)
        for i in range(count)
    ]


def test_a_whole_series_is_one_rectangle_shown_at_once() -> None:
    picture = coverage_strip(["final"] * 5000)
    assert [path.get("d") for path in svg(picture)] == ["M0 0h5000v1H0"]
    assert len(picture) < SHOWN_AT_ONCE


def test_each_state_has_its_colour_and_place() -> None:
    paths = list(svg(coverage_strip(["final", "missing", "missing", "final"])))
    assert [path.get("d") for path in paths] == ["M0 0h1v1H0M3 0h1v1H3", "M1 0h2v1H1"]
    assert len({path.get("fill") for path in paths}) == 2


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="not states of a slot"):
        coverage_strip(["fine"])


def test_a_chart_shows_the_last_candles_at_once() -> None:
    picture = candle_chart(candles(500))
    assert sum(path.get("d", "").count("M") for path in svg(picture)) in range(20, 25)
    assert len(picture) < SHOWN_AT_ONCE


@pytest.mark.parametrize("count", [0, 1])
def test_few_candles_make_no_trouble(count: int) -> None:
    assert bool(candle_chart(candles(count))) is bool(count)


def test_a_heat_map_names_its_lines_and_joins_equal_days() -> None:
    picture = svg(heat_map([("BTC", ["final"] * 13 + ["missing"]), ("ETH", ["none"] * 7 + ["final"] * 7)]))
    assert [text.text for text in picture.iter() if text.tag.endswith("text")] == ["BTC", "ETH"]
    assert sum(path.get("d", "").count("M") for path in picture.iter()) == 4


@given(st.lists(st.tuples(st.text(), st.lists(st.sampled_from(list(COLOURS)), min_size=1, max_size=31)), max_size=60))
def test_a_heat_map_of_anything_is_shown_at_once(rows: list[tuple[str, list[str]]]) -> None:
    picture = heat_map(rows)
    assert len(picture) < SHOWN_AT_ONCE
    if picture:
        svg(picture)


def test_whole_markets_leave_room_for_many() -> None:
    lines = svg(heat_map([(f"COIN{number}", ["final"] * 14) for number in range(50)]))
    assert len([text for text in lines.iter() if text.tag.endswith("text")]) >= 8


def test_where_no_candle_is_the_chart_is_shaded_at_its_time() -> None:
    step = 60_000
    shown = [candle for candle in candles(10) if candle.open_ms not in {3 * step, 4 * step}]
    picture = svg(
        candle_chart(shown, step_ms=step, shaded=[("missing", Span(3 * step, 5 * step)), ("lost", Span(-9 * step, 0))])
    )
    paths = list(picture)
    assert [(path.get("fill"), path.get("d")) for path in paths[:1]] == [(COLOURS["missing"], "M18 0h12v60H18")]
    assert picture.get("viewBox") == "0 0 60 60"
    assert "M33 " in paths[1].get("d", "") + paths[2].get("d", ""), "the sixth slot's wick stands in its own place"


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), max_size=300))
def test_a_line_of_anything_is_shown_at_once(values: list[float | None]) -> None:
    picture = line_chart([("#27a", values), ("#d43", values[::-1])])
    assert bool(picture) is any(value is not None for value in values)
    assert len(picture) < SHOWN_AT_ONCE


def test_a_line_breaks_where_nothing_is_known() -> None:
    (line,) = [
        path for path in svg(line_chart([("#27a", [0.0, 1.0, None, 0.5])])).iter() if path.get("stroke") == "#27a"
    ]
    assert (line.get("d") or "").count("M") == 2


@given(
    st.lists(st.dictionaries(st.sampled_from(["live", "gap", "odd"]), st.floats(0, 1e6)), max_size=200),
    st.floats(0, 1e6),
)
def test_bars_of_anything_are_shown_at_once_and_stay_in_their_frame(
    columns: list[dict[str, float]], top: float
) -> None:
    picture = stacked_bars(columns, top=top)
    assert bool(picture) is bool(columns)
    assert len(picture) < SHOWN_AT_ONCE


def test_neighbours_are_drawn_as_their_mean_when_there_are_too_many() -> None:
    few, many = ([{"live": 30.0, "gap": 10.0}] * count for count in (4, 200))
    widths = [svg(stacked_bars(columns, top=100.0)).get("viewBox") for columns in (few, many)]
    assert widths[0] == "0 0 4 60"
    assert widths[1] != "0 0 200 60"


def test_a_name_cannot_leave_the_picture_or_the_markdown() -> None:
    picture = heat_map([("</text>&", ["final"])], alt="a](http://elsewhere) ![")
    assert picture.count("](") == 1
    assert [text.text for text in svg(picture).iter() if text.tag.endswith("text")] == ["</text>&"]
