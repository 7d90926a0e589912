"""One report over all verdicts: a status, and a score from 0 to 100 (design section 8).

The design's weights: running 30, data flowing 25, stream connected 20, candles ready 10, schedules and sensors 10,
low errors 5. An installation may do without the stream, and may not use Dagster (yet); what is not measured is left
out, its weight shared by the rest, and named in ``excluded``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hl_pipeline.health.machinery import share_on
from hl_pipeline.health.status import Status, Verdict, unknown, worst
from hl_pipeline.health.verdict import all_verdicts
from hl_pipeline.model.vitals import Vitals

WEIGHTS = {"running": 30, "flowing": 25, "stream": 20, "ready": 10, "automation": 10, "errors": 5}
BANDS = ((85, "good"), (70, "fair"), (50, "poor"))
_WORTH = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}


@dataclass(frozen=True, slots=True)
class Report:
    """``score`` 0 to 100, ``band`` good | fair | poor | critical; ``parts`` 0 to 1; ``excluded`` were not measured.

    ``status`` is unknown when the database cannot be read, or something else could not be measured and nothing is
    unhealthy; ``reason`` then says why. ``about`` is what stands beside the verdicts: version, uptime, memory.
    ``is_blind``: nothing of the database is in it.
    """

    now_ms: int
    status: Status
    score: int
    band: str
    parts: dict[str, float]
    excluded: list[str]
    verdicts: list[Verdict]
    reason: str | None = None
    about: Mapping[str, float | int | str | None] = field(default_factory=dict)
    is_blind: bool = False

    def verdict(self, name: str) -> Verdict:
        """The verdict of this name; unknown when there is none in this report."""
        missing = unknown(name, self.reason or "it is not in this report")
        return next((verdict for verdict in self.verdicts if verdict.name == name), missing)


def report(vitals: Vitals, about: Mapping[str, float | int | str | None] | None = None) -> Report:
    """Judge the numbers. ``about`` is what the caller knows beside them."""
    verdicts = all_verdicts(vitals)
    found = _parts(vitals, {verdict.name: verdict for verdict in verdicts})
    parts = {name: value for name, value in found.items() if value is not None}
    score = score_of(parts)
    band = next((name for bound, name in BANDS if score >= bound), "critical")
    status = _overall(vitals, verdicts)
    blind_to = next((verdict.sentence for verdict in verdicts if verdict.status is Status.UNKNOWN), None)
    return Report(
        now_ms=vitals.now_ms,
        status=status,
        score=score,
        band=band,
        parts=parts,
        excluded=sorted(set(found) - set(parts)),
        verdicts=verdicts,
        reason=vitals.blind.reason if vitals.blind is not None else blind_to,
        about={**_about(vitals), **(about or {})},
        is_blind=vitals.blind is not None,
    )


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
        "reason": found.reason,
        "parts": found.parts,
        "excluded": found.excluded,
        "about": dict(found.about),
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


def _overall(v: Vitals, verdicts: list[Verdict]) -> Status:
    """The worst that is known; unknown where nothing known is unhealthy and something could not be measured."""
    if v.blind is not None:
        return Status.UNKNOWN
    known = [verdict.status for verdict in verdicts if verdict.status is not Status.UNKNOWN]
    if Status.UNHEALTHY in known or len(known) == len(verdicts):
        return worst(*known)
    return Status.UNKNOWN


def _parts(v: Vitals, by_name: Mapping[str, Verdict]) -> dict[str, float | None]:
    """Each part of the score, 0 to 1; null where it was not measured."""
    if v.blind is not None:
        return {"running": 0.0, **dict.fromkeys(WEIGHTS.keys() - {"running"})}
    fresh = [name for name in by_name if name.startswith("fresh_")]
    return {
        "running": _running(v, by_name),
        "flowing": _mean(by_name, *fresh),
        "stream": _mean(by_name, "stream_alive") if v.expects_stream else None,
        "ready": _mean(by_name, "coverage_complete", "rows_keep_contract"),
        "automation": None if v.dagster is None else share_on(v.dagster),
        "errors": _mean(by_name, "api_answers", "budget_has_room"),
    }


def _running(v: Vitals, by_name: Mapping[str, Verdict]) -> float | None:
    """Candles landed lately into a database that answers; where Dagster is used its daemon lives and its runs end.

    Null when nobody could look at what landed.
    """
    if by_name["database_answers"].status is Status.UNHEALTHY:
        return 0.0
    if "requests" in v.unmeasured:
        return None
    since_s = None if v.last_landed_ms is None else (v.now_ms - v.last_landed_ms) / 1000
    landing = since_s is not None and since_s <= 3 * v.period_s + v.settle_s + 60
    if not landing:
        return 0.0
    worths = (_mean(by_name, name) for name in ("daemon_alive", "runs_finish"))
    return min((worth for worth in worths if worth is not None), default=1.0)


def _mean(by_name: Mapping[str, Verdict], *names: str) -> float | None:
    """Of the verdicts that were made and are known; null without any."""
    worths = [_WORTH[by_name[name].status] for name in names if name in by_name and by_name[name].status in _WORTH]
    return sum(worths) / len(worths) if worths else None


def _about(v: Vitals) -> dict[str, float | int | str | None]:
    """Memory and uptime, where they were measured. The server's uptime is by this machine's clock."""
    about: dict[str, float | int | str | None] = {}
    if v.host is not None:
        about["memory_mb"] = round(v.host.memory_bytes / 1e6, 1)
    if v.standing is not None:
        watched_ms = v.standing.watched_since_ms
        about["database_started_ms"] = v.standing.server_started_ms
        about["watched_since_ms"] = watched_ms
        about["watched_s"] = None if watched_ms is None else round((v.now_ms - watched_ms) / 1000)
    return about
