"""The checks that stand in for health checks: exchange, database, weight budget, freshness, coverage, contract.

All come from one reading of the database, so they are cheap enough for every
minute. None blocks: a hole the exchange no longer serves must not stop the rest.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator, Mapping

import dagster as dg

from hl_pipeline.defs.assets.endpoint_health import endpoint_health
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.markets import markets
from hl_pipeline.defs.assets.system_health import vitals_of
from hl_pipeline.defs.checks.outcome import judging, results, specs_of
from hl_pipeline.health.status import Verdict, unknown
from hl_pipeline.health.verdict import all_verdicts
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.open_gap import recoverable
from hl_pipeline.model.vitals import Vitals
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.gaps import open_gaps

_MARKETS = {
    "api_answers": "The exchange answers: at most 5 % of the requests of the last 15 minutes failed, and 99 % "
    "took under 5 s. When it fails: read the newest errors in `hl.fetch`.",
    "budget_has_room": "The weight budget lets requests through: at most 97 % of a minute's weight spent, nothing "
    "refused for over two minutes, no 429 in five. When it fails: let the back-fill end, or lower "
    "`HL_WEIGHT_PER_MINUTE`.",
}
_ENDPOINTS = {
    "endpoints_healthy": "Every way to the exchange (`HL_ENDPOINTS`) answers, is in time, and says what the primary "
    "says; a warning while others serve, an error when none does. When it fails: the metadata of `endpoint_health` "
    "names each one's last error; a disagreement stands in `hl.endpoint_disagreement` with both values.",
}
_CANDLES = {
    "database_answers": "Postgres answers within 250 ms; says how many candles it holds. When it fails: look for long "
    "statements in `pg_stat_activity`, a full disk, a machine that swaps.",
    "coverage_complete": "Every due slot is final, proven empty, or waiting for its next try: none overdue, and none "
    "lost within a day. When it fails: run the `collect` job, then `drain_gaps`; lost slots only come back from an "
    "archive.",
    "gaps_before_deadline": "No gap is about to be forgotten by the exchange: the oldest slot of each is recoverable "
    "for 12 h or more; under 2 h is an error. When it fails: run the `drain_gaps` job; `hl gaps` says why each is "
    "open.",
    "no_dead_letters": "No window of a series failed for good: what was refused, unreadable or unanswered came "
    "later. When it fails: its slots stay a gap that nobody asks for; `hl dlq list` says why, and once the reason is "
    "gone the job `retry_dead_letters` (or `hl dlq retry`) has them asked for again.",
    "no_vanished_rows": "No stored candle is missing from a later answer that holds rows on both sides of it; such a "
    "candle is kept. When it fails: read `hl.vanished_row` and compare with another source; an answer that holds the "
    "row again clears it, or a person sets `accepted_at` there.",
    "stream_alive": "The live stream (`hl stream`) runs, every socket stands and brought a frame within a minute; "
    "passes where `HL_STREAM` is off. When it fails: REST reads the live edge meanwhile, later and at more weight; "
    "look whether the process runs (`hl up` keeps it running) and what `hl.stream` holds as its last error.",
    "rows_keep_contract": "Every candle of the last two days keeps the contract: on its grid, low <= open, close <= "
    "high, volume only with trades. When it fails: read the rows with `sql/queries/health_contract.sql`.",
    **{
        f"fresh_{interval}": f"The newest closed {interval} candle of every listed market is at most interval + period "
        "+ settle + 60 s old (1m: five minutes with up to 50 markets). When it fails: is the schedule "
        "`collect_each_minute` on, and what does the last run of `collect` say?"
        for interval in Interval
    },
}


@dg.multi_asset_check(
    name="vital_signs",
    specs=[*specs_of(markets, _MARKETS), *specs_of(endpoint_health, _ENDPOINTS), *specs_of(live_candles, _CANDLES)],
    can_subset=True,
    description="Everything that one reading of the database can tell.",
)
def vital_signs(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Judge the chosen checks; one that cannot be judged fails the step, it never passes."""
    with judging("vital_signs"):
        vitals = vitals_of(pipeline)
        verdicts = {verdict.name: verdict for verdict in all_verdicts(vitals)}
        deadlines = {name: _until(pipeline, vitals, name) for name, found in verdicts.items() if not found.passed}
    keys = sorted(context.selected_asset_check_keys)
    yield from results(((key, _verdict(vitals, verdicts, key.name)) for key in keys), deadlines)


def _verdict(vitals: Vitals, verdicts: Mapping[str, Verdict], check: str) -> Verdict | None:
    """The verdict, null where nothing is tracked that it could be asked of; without numbers nobody knows which."""
    if check in _BY_FRESHNESS and (reason := vitals.unmeasured.get("coverage")) is not None:
        return unknown(check, reason)
    return verdicts.get(check)


def _until(pipeline: Pipeline, vitals: Vitals, check: str) -> str:
    """Until when what the failed check found can be healed, where that is a known instant; else empty."""
    deadline_ms: int | None = None
    if check == "gaps_before_deadline" and vitals.endangered is not None:
        deadline_ms = vitals.endangered.deadline_ms
    elif check in {"coverage_complete", "no_dead_letters"}:
        deadline_ms = _nearest_deadline(pipeline, vitals, only_dead=check == "no_dead_letters")
    elif (row := _BY_FRESHNESS.get(check)) is not None:
        closed_ms = vitals.intervals[row].newest_close_ms
        deadline_ms = None if closed_ms is None else row.deadline(closed_ms)
    if deadline_ms is None:
        return ""
    return (
        f"until {to_datetime(deadline_ms):%Y-%m-%d %H:%M} UTC, when the exchange forgets the first of it "
        f"({recoverable(deadline_ms, vitals.now_ms)})"
    )


def _nearest_deadline(pipeline: Pipeline, vitals: Vitals, *, only_dead: bool) -> int | None:
    with pipeline.database.connection() as connection:
        gaps = open_gaps(
            connection, vitals.now_ms, settle_ms=round(vitals.settle_s * 1000), period_ms=round(vitals.period_s * 1000)
        )
    return next((gap.deadline_ms for gap in gaps if (gap.is_dead if only_dead else not gap.is_young)), None)


_BY_FRESHNESS = {f"fresh_{interval}": interval for interval in Interval}
