"""The status report as one HTML file: inline style and SVG, no script, nothing from elsewhere.

A pure function from what the page says to its text. Every word is escaped by the template, and the page's own policy
lets no script run, whatever a market is called. It prints, follows the reader's light or dark scheme, and says in
words what it says in colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from hl_pipeline.derived.plots import LANE_COLOURS, OTHER_LANE_COLOUR
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.open_gap import OpenGap, recoverable, time_left
from hl_pipeline.model.status_page import AlertLine, MarketDays, SeriesStanding, StatusPage, TrustHistory, WeightUse

#: Where the guard puts a line of its own when it serves a page that nobody has renewed for long.
STALE_MARK = "<!-- the age of this page -->"
#: Lines shown of what can be thousands; how many are left out is said.
SHOWN_SERIES, SHOWN_GAPS, SHOWN_ALERTS, SHOWN_MARKETS = 400, 100, 50, 250
SHOWN_SUMMARIES = 3
#: As in `latest_metrics`: what counts as trusted, which share of the series must be, and where nobody should read.
TRUSTED, TRUSTED_SHARE, ALARM = 0.75, 0.95, 0.30
HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = "healthy", "degraded", "unhealthy", "unknown"
#: Said beside the colour, for whoever does not see it.
SIGNS = {HEALTHY: "✓", DEGRADED: "!", UNHEALTHY: "✗", UNKNOWN: "?"}
#: Stands where there is no value.
NOTHING = "\N{EN DASH}"
_WORST_FIRST = {UNHEALTHY: 0, UNKNOWN: 1, DEGRADED: 2, HEALTHY: 3}
_DAY_MS = 86_400_000
_CHART_WIDTH, _CHART_HEIGHT = 640, 140


@dataclass(frozen=True, slots=True)
class Indicator:
    """One of the four on top."""

    name: str
    status: str
    value: str
    sentence: str

    @property
    def sign(self) -> str:
        """The status as a sign."""
        return SIGNS[self.status]


def render(page: StatusPage) -> str:
    """The page as HTML."""
    alerts = _alerts(page)
    return _template().render(
        page=page,
        health=_health(page.health),
        indicators=indicators(page),
        failing=[check for check in _checks(page.health) if check["status"] != HEALTHY],
        checks=_checks(page.health),
        heat=_heat(page),
        series=_series(page),
        gaps=[_gap(gap, page.now_ms) for gap in page.gaps[:SHOWN_GAPS]],
        alerts=alerts[:SHOWN_ALERTS],
        weight=_weight(page.weight),
        trust=_trust(page.trust),
        stale_mark=STALE_MARK,
        left_out={
            "series": len(page.series) - SHOWN_SERIES,
            "gaps": len(page.gaps) - SHOWN_GAPS,
            "alerts": len(alerts) - SHOWN_ALERTS,
            "markets": len(page.heat) - SHOWN_MARKETS,
        },
    )


def indicators(page: StatusPage) -> list[Indicator]:
    """Availability, database, confidence, freshness."""
    checks = {check["name"]: check for check in _checks(page.health)}
    return [
        _availability(checks),
        _database(checks),
        _confidence(page.series),
        _freshness(page.series, checks, page.now_ms),
    ]


def _availability(checks: Mapping[str, dict[str, Any]]) -> Indicator:
    """How much of what was asked was answered, and whether a way to the exchange serves."""
    asked = checks.get("api_answers")
    found = [checks[name] for name in ("api_answers", "endpoints_healthy", "stream_alive") if name in checks]
    if asked is None:
        return Indicator("Availability", UNKNOWN, NOTHING, "nobody has measured whether the exchange answers")
    requests, failed = _number(asked, "requests"), _number(asked, "failed")
    value = f"{100 * (1 - failed / requests):.1f} %" if requests else NOTHING
    worst = min(found, key=lambda check: _WORST_FIRST[check["status"]])
    return Indicator("Availability", worst["status"], value, worst["found"])


def _database(checks: Mapping[str, dict[str, Any]]) -> Indicator:
    found = checks.get("database_answers")
    if found is None:
        return Indicator("Database", UNKNOWN, NOTHING, "nobody has measured the database")
    return Indicator("Database", found["status"], f"{_number(found, 'latency_ms'):.0f} ms", found["found"])


def _confidence(series: Sequence[SeriesStanding]) -> Indicator:
    scored = [(one.confidence, one) for one in series if one.confidence is not None and not one.is_over]
    if not scored:
        return Indicator("Confidence", UNKNOWN, NOTHING, "no series has been scored yet")
    trusted = sum(score >= TRUSTED for score, _ in scored)
    lowest, worst = min(scored, key=lambda pair: pair[0])
    status = UNHEALTHY if lowest < ALARM else HEALTHY if trusted >= TRUSTED_SHARE * len(scored) else DEGRADED
    sentence = (
        f"{trusted} of {len(scored)} series stand at {TRUSTED} or better (wanted: {TRUSTED_SHARE:.0%}); "
        f"the lowest is {worst.key.coin} {worst.key.interval} with {lowest:.2f}"
    )
    return Indicator("Confidence", status, f"{sum(score for score, _ in scored) / len(scored):.2f}", sentence)


def _freshness(series: Sequence[SeriesStanding], checks: Mapping[str, dict[str, Any]], now_ms: int) -> Indicator:
    if not series:
        return Indicator("Freshness", UNKNOWN, NOTHING, "no market is tracked yet")
    fresh = sum(one.is_fresh(now_ms) for one in series)
    found = [check for name, check in checks.items() if name.startswith("fresh_")]
    worst = min(found, key=lambda check: _WORST_FIRST[check["status"]], default=None)
    status = worst["status"] if worst else HEALTHY if fresh == len(series) else DEGRADED
    if status == HEALTHY:
        sentence = f"{fresh} of {len(series)} series hold a candle as young as promised"
    else:
        sentence = worst["found"] if worst else f"{len(series) - fresh} series are older than promised"
    return Indicator("Freshness", status, f"{100 * fresh / len(series):.0f} %", sentence)


def _health(health: Mapping[str, Any]) -> dict[str, Any]:
    status = _status(health.get("status"))
    score = health.get("score")
    known = isinstance(score, int | float) and math.isfinite(score)
    return {
        "status": status,
        "sign": SIGNS[status],
        "score": round(min(max(score, 0), 100)) if known and score is not None else None,
        "band": str(health.get("band", "")),
        "excluded": ", ".join(str(name) for name in health.get("excluded", ())),
    }


def _checks(health: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The report's checks, the worst first, with what was found apart from what to do."""
    told = []
    for check in health.get("checks", ()):
        found, _, step = str(check.get("sentence", "")).partition(". Next: ")
        status = _status(check.get("status"))
        told.append(
            {
                "name": str(check.get("name", "")),
                "status": status,
                "sign": SIGNS[status],
                "found": found,
                "step": step,
                "numbers": check.get("numbers", {}),
            }
        )
    return sorted(told, key=lambda check: _WORST_FIRST[str(check["status"])])


def _status(word: object) -> str:
    return str(word) if str(word) in SIGNS else UNKNOWN


def _number(check: Mapping[str, Any], name: str) -> float:
    value = check["numbers"].get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _heat(page: StatusPage) -> dict[str, Any]:
    """Those markets first that hold a hole, then by name."""
    days = max((len(line.days) for line in page.heat), default=0)
    first_ms = page.now_ms // _DAY_MS * _DAY_MS - (days - 1) * _DAY_MS
    dates = [to_datetime(first_ms + number * _DAY_MS) for number in range(days)]
    lines = sorted(page.heat, key=lambda line: (-_holes(line), line.coin))[:SHOWN_MARKETS]
    return {
        "dates": [(f"{date:%d}", f"{date:%Y-%m-%d}") for date in dates],
        "lines": [
            (
                line.coin,
                [
                    {
                        "state": cell.state,
                        "share": _share(cell.settled, cell.due),
                        "title": f"{date:%Y-%m-%d}: {cell.settled:,} of {cell.due:,} slots settled, {cell.state}",
                    }
                    for date, cell in zip(dates, line.days, strict=True)
                ],
            )
            for line in lines
        ],
    }


def _holes(line: MarketDays) -> int:
    return sum(cell.due - cell.settled for cell in line.days if cell.state in {"missing", "lost"})


def _share(settled: int, due: int) -> str:
    """The settled percentage, never rounded up to a whole one that it is not."""
    if not due:
        return "·"
    return "100" if settled >= due else f"{math.floor(1000 * settled / due) / 10:.1f}"


def _series(page: StatusPage) -> list[dict[str, Any]]:
    """Those first that need a look."""
    lines = []
    for one in page.series:
        fresh, whole = one.is_fresh(page.now_ms), one.is_whole
        trusted = one.confidence is None or one.confidence >= TRUSTED
        lines.append(
            {
                "coin": one.key.coin,
                "interval": str(one.key.interval),
                "fresh": fresh,
                "over": one.is_over,
                "age": _age(one.newest_close_ms, page.now_ms),
                "whole": whole,
                "missing": f"{one.missing:,}",
                "lost": one.lost,
                "settled": f"{one.settled:,}",
                "share": _share(one.settled, one.due - one.lost),
                "confidence": NOTHING if one.confidence is None else f"{one.confidence:.2f}",
                "trusted": trusted,
                "grade": one.grade or "",
                "until": None if one.deadline_ms is None else _minute(one.deadline_ms),
                "left": "" if one.deadline_ms is None else recoverable(one.deadline_ms, page.now_ms),
                "well": fresh and whole and trusted,
            }
        )
    return sorted(lines, key=lambda line: bool(line["well"]))[:SHOWN_SERIES]


def _age(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return NOTHING
    return f"{time_left(now_ms - at_ms)} ago" if now_ms > at_ms else "now"


def _alerts(page: StatusPage) -> list[dict[str, Any]]:
    """Alerts of one rule and next step are one line; a check that stands above is not said twice."""
    failing = {check["name"] for check in _checks(page.health) if check["status"] != HEALTHY}
    together: dict[tuple[str, str, str], list[AlertLine]] = {}
    for alert in page.alerts:
        if alert.rule == "check_failed" and failing & set(alert.summary.split(": ")[:2]):
            continue  # the check itself stands above
        together.setdefault((alert.severity, alert.rule, alert.next_step), []).append(alert)
    return [
        {
            "severity": severity,
            "rule": rule,
            "step": step,
            "count": len(found),
            "since": time_left(page.now_ms - min(alert.first_seen_ms for alert in found)),
            "summaries": "; ".join(alert.summary for alert in found[:SHOWN_SUMMARIES]),
            "more": max(0, len(found) - SHOWN_SUMMARIES),
        }
        for (severity, rule, step), found in together.items()
    ]


def _gap(gap: OpenGap, now_ms: int) -> dict[str, str]:
    return {
        "coin": gap.key.coin,
        "interval": str(gap.key.interval),
        "from": _minute(gap.span.start_ms),
        "to": _minute(gap.span.end_ms),
        "slots": f"{gap.slots:,}",
        "why": gap.why,
        "attempts": str(gap.attempts),
        "until": _minute(gap.deadline_ms),
        "left": recoverable(gap.deadline_ms, now_ms),
    }


def _weight(use: WeightUse) -> dict[str, Any]:
    """Bars by lane, and how much of what could be spent was."""
    lanes = sorted({lane for step in use.by_lane for lane in step}, key=lambda lane: (lane not in LANE_COLOURS, lane))
    width = _CHART_WIDTH / max(1, len(use.by_lane))
    bars = []
    for number, step in enumerate(use.by_lane):
        below = 0
        for lane in lanes:
            height = _CHART_HEIGHT * min(step.get(lane, 0), max(use.most - below, 0)) / max(1, use.most)
            bottom = _CHART_HEIGHT * min(below, use.most) / max(1, use.most)
            if height > 0:
                bars.append(
                    {
                        "x": f"{number * width:.1f}",
                        "y": f"{_CHART_HEIGHT - bottom - height:.1f}",
                        "width": f"{width * 0.86:.1f}",
                        "height": f"{height:.1f}",
                        "fill": LANE_COLOURS.get(lane, OTHER_LANE_COLOUR),
                        "title": f"{to_datetime(use.span.start_ms + number * use.step_ms):%H:%M} "
                        f"{lane}: {step.get(lane, 0):,} weight",
                    }
                )
            below += step.get(lane, 0)
    totals = {lane: sum(step.get(lane, 0) for step in use.by_lane) for lane in lanes}
    return {
        "bars": bars,
        "from": f"{to_datetime(use.span.start_ms):%H:%M}",
        "to": f"{to_datetime(use.span.end_ms):%H:%M}",
        "most": f"{use.most:,}",
        "minutes": use.step_ms // 60_000,
        "hours": use.span.length_ms // 3_600_000,
        "lanes": [(lane, LANE_COLOURS.get(lane, OTHER_LANE_COLOUR), f"{total:,}") for lane, total in totals.items()],
        "spent": f"{sum(totals.values()):,}",
    }


def _trust(found: TrustHistory) -> dict[str, Any]:
    known = [value for value in found.mean if value is not None]
    return {
        "mean": _path(found.mean),
        "lowest": _path(found.lowest),
        "trusted_y": f"{_CHART_HEIGHT * (1 - TRUSTED):.1f}",
        "now": f"{known[-1]:.2f}" if known else None,
        "worst": f"{min(value for value in found.lowest if value is not None):.2f}" if known else None,
        "from": f"{to_datetime(found.span.start_ms):%m-%d %H:%M}",
        "to": f"{to_datetime(found.span.end_ms):%m-%d %H:%M}",
    }


def _path(values: Sequence[float | None]) -> str:
    """The values as an SVG path, 0 to 1 from bottom to top; a null breaks it, a lone value is a short stroke."""
    step, path, pen = _CHART_WIDTH / max(1, len(values) - 1), "", "M"
    for number, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        path += f"{pen}{number * step:.1f} {_CHART_HEIGHT * (1 - min(max(value, 0), 1)):.1f}"
        path += "m-4 0h4" if pen == "M" else ""
        pen = "L"
    return path


def _minute(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M}"


def _plain(value: object) -> str:
    """Text that a file can hold and a page may show: nothing that steers, turns or splits it, no half of a pair."""
    text = str(value).encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


def _ticked(text: str) -> Markup:
    """The text, with what stands between backticks set as code."""
    parts = _plain(text).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("hl_pipeline", "derived"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: _plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.filters |= {"minute": _minute, "ticked": _ticked}
    return environment.get_template("report.html.j2")
