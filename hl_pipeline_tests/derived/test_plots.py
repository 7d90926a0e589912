from __future__ import annotations

import base64
from xml.etree import ElementTree as ET

import pytest

from hl_pipeline.derived.plots import SHOWN_AT_ONCE, candle_chart, coverage_strip
from hl_pipeline.model.candle import Candle


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
