"""What is older than its bound is gone a day later."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.collect.retention import survey
from hl_pipeline.defs.assets.retention import RUNS, retention
from hl_pipeline.defs.checks.outcome import RUNBOOK, judging, outcome
from hl_pipeline.defs.describe import table
from hl_pipeline.defs.run_records import before_ms, due_runs
from hl_pipeline.health.runbooks import runbook_path
from hl_pipeline.model.retention import LATE_MS
from hl_pipeline.runtime import Pipeline

NAME = "nothing_due_is_left"


@dg.asset_check(
    asset=retention,
    name=NAME,
    description="Nothing is left that was due to be dropped (`HL_RETENTION_*`) more than 36 hours ago: retention runs "
    "nightly. When it fails: the metadata of `retention` says under *kept* why a month could not go; make room for the "
    "export, then run the `apply_retention` job.",
    metadata={RUNBOOK: dg.MetadataValue.path(runbook_path(NAME))},
)
def nothing_due_is_left(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.AssetCheckResult:
    """Look for what was due already a day and a half ago."""
    with judging(NAME):
        bounds = pipeline.settings.retention
        seen = survey(pipeline.database, bounds, pipeline.clock.now_ms() - LATE_MS)
        left = {month.name: month.rows for month in seen.months} | {due.kind: due.rows for due in seen.rows if due.rows}
        if bounds.runs_ms is not None:
            runs = due_runs(context.instance, before_ms(bounds.runs_ms + LATE_MS)).run_ids
            left |= {RUNS: len(runs)} if runs else {}
    found = ", ".join(f"{rows} rows of {what}" for what, rows in list(left.items())[:5])
    return outcome(
        dg.AssetCheckKey(retention.key, NAME),
        passed=not left,
        is_grave=False,
        found=f"due for more than 36 h and still there: {found}" if left else "nothing due is left",
        metadata={
            "rows left": sum(left.values()),
            "left": table([{"what": what, "rows": rows} for what, rows in left.items()]),
        },
    )
