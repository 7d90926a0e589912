"""One report over all verdicts: a status, and a score from 0 to 100 (design section 8).

The design's weights: running 30, data flowing 25, stream connected 20, candles ready 10, schedules and sensors 10,
low errors 5. An installation may do without the stream, and whether schedules are on is Dagster's to know; what is not
given is left out, its weight shared by the rest, and named in ``excluded``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hl_pipeline.health.verdict import Status, Verdict, all_verdicts
from hl_pipeline.model.vitals import Vitals

WEIGHTS = {"running": 30, "flowing": 25, "stream": 20, "ready": 10, "automation": 10, "errors": 5}
BANDS = ((85, "good"), (70, "fair"), (50, "poor"))


@dataclass(frozen=True, slots=True)
class Report:
    """``score`` 0 to 100, ``band`` good | fair | poor | critical; ``parts`` 0 to 1; ``excluded`` were not measured."""

    now_ms: int
    status: Status
    score: int
    band: str
    parts: dict[str, float]
    excluded: list[str]
    verdicts: list[Verdict]


def report(vitals: Vitals, *, automation_on: float | None = None) -> Report:
    """Judge the numbers. ``automation_on`` is the share of schedules and sensors that run, when the caller knows it."""
    verdicts = all_verdicts(vitals)
    fresh = [verdict for verdict in verdicts if verdict.name.startswith("fresh_")]
    by_name = {verdict.name: verdict for verdict in verdicts}
    since = None if vitals.last_landed_ms is None else (vitals.now_ms - vitals.last_landed_ms) / 1000
    running = since is not None and since <= 3 * vitals.period_s + vitals.settle_s + 60
    found: dict[str, float | None] = {
        "running": 1.0 if running and by_name["database_answers"].status is not Status.UNHEALTHY else 0.0,
        "flowing": _mean(fresh),
        "stream": _mean([by_name["stream_alive"]]) if vitals.expects_stream else None,
        "ready": _mean([by_name["coverage_complete"], by_name["rows_keep_contract"]]),
        "automation": automation_on,
        "errors": _mean([by_name["api_answers"], by_name["budget_has_room"]]),
    }
    parts = {name: value for name, value in found.items() if value is not None}
    score = score_of(parts)
    status = max((verdict.status for verdict in verdicts), key=list(Status).index, default=Status.HEALTHY)
    band = next((name for bound, name in BANDS if score >= bound), "critical")
    return Report(vitals.now_ms, status, score, band, parts, sorted(set(found) - set(parts)), verdicts)


def score_of(parts: Mapping[str, float]) -> int:
    """The weighted mean of the parts that were measured, 0 to 100."""
    total = sum(WEIGHTS[name] for name in parts)
    return round(100 * sum(WEIGHTS[name] * value for name, value in parts.items()) / total) if total else 0


def to_json(found: Report) -> dict[str, Any]:
    """The report as plain JSON values."""
    return {
        "now_ms": found.now_ms,
        "status": str(found.status),
        "score": found.score,
        "band": found.band,
        "parts": found.parts,
        "excluded": found.excluded,
        "checks": [
            {
                "name": verdict.name,
                "status": str(verdict.status),
                "passed": verdict.passed,
                "severity": verdict.severity,
                "sentence": verdict.sentence,
                "numbers": dict(verdict.numbers),
            }
            for verdict in found.verdicts
        ],
    }


def _mean(verdicts: list[Verdict]) -> float | None:
    worth = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
    return sum(worth[verdict.status] for verdict in verdicts) / len(verdicts) if verdicts else None
