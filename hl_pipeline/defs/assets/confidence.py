"""How far each series can be trusted, scored after every tick."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.describe import KINDS, NOT_NULL, OWNERS, TRUST, answers, columns, said_plainly, table
from hl_pipeline.defs.pictures import trust_picture
from hl_pipeline.derived.confidence import ALARM_BELOW, GRADES, score
from hl_pipeline.model.span import Span
from hl_pipeline.model.status_page import TrustHistory
from hl_pipeline.model.trust import Confidence
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import confidence as scores
from hl_pipeline.storage import status_page

SCORE_COLUMNS = {
    "series_id": ("integer", "market and interval, see hl.series"),
    "scored_at": ("timestamptz", "market time of the score, UTC"),
    "score": ("real", "how far the series can be trusted", NOT_NULL, "0 to 1"),
    "grade": ("text", "excellent >= .90, good >= .75, fair >= .50, else poor", NOT_NULL),
    "weakest": ("text", "the component that pulls the score down most", NOT_NULL),
    "components": ("jsonb", "each component's score, weight and the numbers behind it; null where not measurable"),
    "reasons": ("jsonb", "one sentence for each component below 1"),
}
SHOWN = 12
HISTORY_MS, HISTORY_STEP_MS = 24 * 3_600_000, 30 * 60_000
TRUSTED = 0.75


@dg.asset(
    deps=[live_candles],
    group_name=TRUST,
    owners=OWNERS,
    kinds=KINDS,
    code_version="2",
    tags={"hl/lane": "live"},
    metadata={
        "dagster/column_schema": columns(SCORE_COLUMNS, "one row a series and scored_at"),
        "dagster/table_name": "hl.confidence",
    },
)
def confidence_scores(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """How far each series can be trusted, 0 to 1: completeness, freshness, validity, agreement, provenance, stability.

    Scored over the last day (1m to 15m), 60 slots (1h, 4h) or 30 days (1d) into `hl.confidence`, after every tick.
    Look at the series listed first: *weakest* names what pulls it down and *why* says what was found. Below
    0.30 do not use it. A component that cannot be measured is left out, never counted as good. Scores are kept, one
    an hour or whenever they move: `hl confidence COIN INTERVAL` shows how a series' score came about.
    """
    with said_plainly():
        now_ms = pipeline.clock.now_ms()
        with pipeline.database.connection() as connection:
            inputs = scores.gather(connection, now_ms, pipeline.period_ms / 1000, pipeline.policy.proof.settle_ms)
            found = [score(one) for one in inputs]
            stored = scores.store(connection, now_ms, found)
            alive = [one for one, given in zip(found, inputs, strict=True) if not given.ended]
            history = status_page.trust_history(connection, Span(now_ms - HISTORY_MS, now_ms), HISTORY_STEP_MS)
    return dg.MaterializeResult(metadata={**_answered(alive), **_told(found, stored, history)})


def _answered(alive: list[Confidence]) -> dict[str, str]:
    """How many of the series that go on can be trusted, and where to look."""
    low = sorted((one for one in alive if one.score < TRUSTED), key=lambda one: one.score)
    if not alive:
        return answers(whole="no series is tracked yet", step="run the job collect")
    if not low:
        return answers(whole=f"yes: all {len(alive)} series stand at {TRUSTED} or better", step="nothing")
    named = ", ".join(f"{one.key.coin} {one.key.interval} ({one.weakest})" for one in low[:3])
    return answers(
        whole=f"no: {len(low)} of {len(alive)} series stand below {TRUSTED}",
        step=f"look at {named}: the table below says why; `hl confidence COIN INTERVAL` since when",
    )


def _told(
    found: list[Confidence], stored: int, history: TrustHistory
) -> dict[str, dg.MetadataValue | float | int | str]:
    worst = sorted(found, key=lambda one: one.score)
    grades = {name: sum(one.grade == name for one in found) for name in [*(grade for _, grade in GRADES), "poor"]}
    lines = [
        {
            "series": f"{one.key.coin} {one.key.interval}",
            "score": round(one.score, 3),
            "grade": one.grade,
            "weakest": one.weakest if one.score < 1 else "-",
            "why": "; ".join(one.reasons[:2]) or "nothing to complain of",
        }
        for one in worst[:SHOWN]
    ]
    return {
        **trust_picture(history),
        "dagster/row_count": len(found),
        "lowest": round(worst[0].score, 4) if worst else 0.0,
        "mean": round(sum(one.score for one in found) / len(found), 4) if found else 0.0,
        "below the alarm": sum(one.score < ALARM_BELOW for one in found),
        "grades": table([{"grade": name, "series": count} for name, count in grades.items()]),
        "lowest series": table(lines),
        "scores stored": stored,
    }
