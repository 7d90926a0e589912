"""The status report: well-formed whatever a market is called, self-contained, and right about what it says."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hl_pipeline.derived.report_html import STALE_MARK, indicators, render
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.model.open_gap import OpenGap
from hl_pipeline.model.span import Span
from hl_pipeline.model.status_page import (
    AlertLine,
    CoverageCell,
    MarketDays,
    SeriesStanding,
    StatusPage,
    TrustHistory,
    WeightUse,
)

#: 2026-01-10T12:00:20Z
NOW = 1_768_046_420_000
HOUR = 3_600_000
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE hl.candle; --",
    "</title><h1>",
    "{{ 7*7 }}",
    "{% raw %}",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "\u202eevil",
    "a\x00b\x1b[31m",
    "\ud800",
    "<!-- the age of this page -->",
    "]]>",
]
VOID = {"meta", "link", "br", "hr", "img", "input", "path", "rect"}


class Read(HTMLParser):
    """Reads a page strictly: every element is closed in turn. ``text`` is what a person reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data.strip())


def check(name: str, status: str = "healthy", sentence: str = "fine", **numbers: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "sentence": sentence, "numbers": numbers}


def health(*checks: dict[str, Any], status: str = "healthy") -> dict[str, Any]:
    usual = [
        check("database_answers", latency_ms=3.2),
        check("api_answers", requests=200, failed=1),
        check("fresh_1m"),
    ]
    return {"status": status, "score": 97, "band": "good", "excluded": ["stream"], "checks": [*usual, *checks]}


def standing(coin: str = "BTC", **changes: Any) -> SeriesStanding:
    usual = SeriesStanding(
        SeriesKey(coin, Interval.M1), NOW - 70_000, 190.0, False, 1000, 1000, 0, 0, None, 0.98, "excellent"
    )
    return replace(usual, **changes)


def page(coin: str = "BTC", text: str = "something", **changes: Any) -> StatusPage:
    gap = OpenGap(SeriesKey(coin, Interval.M1), Span(NOW - HOUR, NOW), 60, GapReason.FAILED, 2, NOW, NOW + HOUR)
    usual = StatusPage(
        venue="sandbox",
        version="1.2.3",
        now_ms=NOW,
        written_ms=NOW,
        health=health(check(f"odd {text}", "degraded", f"{text} was found. Next: do {text}")),
        heat=[MarketDays(coin, [CoverageCell("final", 10, 10), CoverageCell("missing", 1000, 999)])],
        series=[standing(coin), standing("ETH", missing=60, deadline_ms=NOW + HOUR, confidence=0.4, grade="poor")],
        gaps=[gap],
        alerts=[AlertLine("error", text, text, text, NOW - HOUR)],
        weight=WeightUse(Span(NOW - HOUR, NOW), HOUR // 4, 100, [{"live": 10, text: 40}, {}, {"live": 1000}, {}]),
        trust=TrustHistory(Span(NOW - HOUR, NOW), [None, 0.9, 0.95], [None, 0.5, 0.6]),
        figures=[("points", text)],
    )
    return replace(usual, **changes)


def words(found: StatusPage) -> str:
    return " ".join(" ".join(Read(render(found)).text).split())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(name: str) -> None:
    found = Read(render(page(name, name)))
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in Read(render(page())).tags}
    assert len(found.tags) == len(Read(render(page())).tags)


def without_code(html: str) -> list[str]:
    """All tags but those that commands between backticks get."""
    return [tag for tag, _ in Read(html).tags if tag != "code"]


@given(st.text(), st.text())
@example("`x`", "`rm -rf` ``")
def test_any_name_and_any_text_leave_the_page_well_formed(name: str, text: str) -> None:
    html = render(page(name, text))
    assert len(without_code(html)) == len(without_code(render(page())))
    html.encode()
    assert html.count(STALE_MARK) == 1, "nobody can place the guard's line elsewhere"


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    found = Read(render(page()))
    attributes = [(tag, name, value or "") for tag, given in found.tags for name, value in given.items()]
    assert not [tag for tag, _ in found.tags if tag in {"script", "link", "img", "iframe", "object", "form", "base"}]
    assert not [(tag, name) for tag, name, _ in attributes if name.startswith("on") or name == "src"]
    assert {value for _, name, value in attributes if name == "href"} == {"#todo"}
    (policy,) = [given["content"] for _, given in found.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "http:" not in render(page())
    assert "https:" not in render(page())


def test_pictures_and_tables_are_told_to_those_who_do_not_see_them() -> None:
    found = Read(render(page()))
    assert ("html", {"lang": "en"}) in found.tags
    assert all(given.get("aria-label") for tag, given in found.tags if tag == "svg")
    headers = [given.get("scope") for tag, given in found.tags if tag == "th"]
    assert set(headers) == {"col", "row"}
    labelled = [given.get("aria-labelledby") for tag, given in found.tags if tag == "section"]
    ids = {given["id"] for _, given in found.tags if "id" in given}
    assert set(labelled) <= ids


def test_what_fails_comes_first_with_what_to_do() -> None:
    text = words(page("BTC", "a thing"))
    assert "a thing was found do a thing" in text
    assert text.index("odd a thing") < text.index("Coverage, market by day")


def test_commands_in_a_sentence_are_set_as_code_and_stay_text() -> None:
    page_of = health(check("odd", "degraded", "it is so. Next: run `hl <b>x</b>` now, or one ` alone"))
    even = health(check("odd", "degraded", "it is so. Next: run `hl <b>x</b>` now"))
    assert "<code>hl &lt;b&gt;x&lt;/b&gt;</code> now" in render(page(health=even))
    assert "`hl &lt;b&gt;x&lt;/b&gt;` now, or one ` alone" in render(page(health=page_of))


def test_alerts_of_one_rule_are_one_line() -> None:
    stale = [AlertLine("warning", "stale", f"C{number} is old", "look", NOW - number * HOUR) for number in range(5)]
    text = words(page(alerts=[*stale, AlertLine("error", "lost", "X is lost", "archive", NOW - HOUR)]))
    assert "stale (5 alerts), for 4 h: C0 is old; C1 is old; C2 is old ; and 2 more" in text
    assert "lost , for 1 h: X is lost" in text


def test_the_alert_of_a_check_that_is_shown_is_not_said_twice() -> None:
    failing = health(check("stream_alive", "degraded", "it is silent. Next: look"))
    alerts = [
        AlertLine("warning", "check_failed", f"live_candles: {name}: what was found", "look", NOW - HOUR)
        for name in ("stream_alive", "odd_one")
    ]
    text = words(page(health=failing, alerts=alerts))
    assert "live_candles: odd_one: what was found" in text
    assert "live_candles: stream_alive: what was found" not in text


def test_a_series_that_is_over_is_not_blamed() -> None:
    ended = standing("MATIC", is_over=True, confidence=0.0, grade="poor")
    assert indicators(page(series=[standing(), ended]))[2].status == "healthy"


def test_a_well_pipeline_says_that_nothing_is_to_do() -> None:
    well = page(health=health(), alerts=[], gaps=[], series=[standing()], heat=[])
    text = words(well)
    assert "Nothing. Every check passes and no alert is open." in text
    assert "No gap is open." in text


def test_an_empty_pipeline_has_a_page_too() -> None:
    empty = page(
        health={}, heat=[], series=[], gaps=[], alerts=[], figures=[],
        weight=WeightUse(Span(NOW - HOUR, NOW), HOUR, 100, [{}]), trust=TrustHistory(Span(NOW - HOUR, NOW), [], []),
    )  # fmt: skip
    assert "No market is tracked yet" in words(empty)
    assert [one.status for one in indicators(empty)] == ["unknown"] * 4


def test_the_four_indicators_say_value_status_and_why() -> None:
    availability, database, confidence, freshness = indicators(page())
    assert (availability.name, availability.value, availability.status) == ("Availability", "99.5 %", "healthy")
    assert (database.name, database.value, database.status) == ("Database", "3 ms", "healthy")
    assert (confidence.value, confidence.status) == ("0.69", "degraded")
    assert "1 of 2 series stand at 0.75 or better" in confidence.sentence
    assert (freshness.value, freshness.status) == ("100 %", "healthy")


@pytest.mark.parametrize(
    ("scores", "status"),
    [([0.75] * 19 + [0.74], "healthy"), ([0.75] * 18 + [0.74] * 2, "degraded"), ([1.0] * 99 + [0.29], "unhealthy")],
)
def test_confidence_is_judged_by_share_and_by_the_worst(scores: list[float], status: str) -> None:
    found = indicators(page(series=[standing(confidence=score) for score in scores]))[2]
    assert found.status == status


@pytest.mark.parametrize(("age_s", "fresh"), [(190, True), (191, False)])
def test_a_series_is_fresh_up_to_its_bound(age_s: int, fresh: bool) -> None:
    assert standing(newest_close_ms=NOW - 1000 * age_s).is_fresh(NOW) is fresh


def test_a_delisted_market_is_not_stale_and_one_without_a_candle_is() -> None:
    assert standing(newest_close_ms=None, is_over=True).is_fresh(NOW)
    assert not standing(newest_close_ms=None).is_fresh(NOW)


def test_a_stale_series_shows_in_the_indicator_though_the_log_is_well() -> None:
    stale = indicators(page(health={"status": "healthy", "checks": []}, series=[standing(newest_close_ms=None)]))[3]
    assert (stale.status, stale.value) == ("degraded", "0 %")


def test_a_share_is_never_rounded_up_to_whole() -> None:
    heat = [MarketDays("BTC", [CoverageCell("missing", 1_000_000, 999_999)])]
    cells = words(page(heat=heat)).split("BTC", 1)[1][:8]
    assert "99.9" in cells
    assert "100" not in cells


def test_series_that_need_a_look_come_first_and_all_say_until_when() -> None:
    text = words(page()).split("Every series", 1)[1]
    assert text.index("ETH") < text.index("BTC")
    assert "60 missing" in text
    assert "2026-01-10 13:00, recoverable for 1 h" in text


def test_what_is_left_out_is_said() -> None:
    many = [replace(page().gaps[0], attempts=number) for number in range(130)]
    assert "And 30 more: hl gaps lists all." in words(page(gaps=many))


def test_spent_weight_never_leaves_its_frame() -> None:
    bars = [given for tag, given in Read(render(page())).tags if tag == "rect"]
    assert len(bars) == 3
    assert all(float(bar["y"] or "") >= 0 and float(bar["height"] or "") <= 140 for bar in bars)
