"""What is older than its bound goes: months after an export, rows in batches, Dagster's records of live runs."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.retention import RetentionReport, Survey, apply, survey
from hl_pipeline.defs.assets.system_health import system_health
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, answers, columns, instant, said_plainly, table
from hl_pipeline.defs.run_records import DueRuns, before_ms, drop_runs, due_runs
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.retention import DueRows

FILE_COLUMNS = {
    "relation": ("text", "candle or market_context"),
    "interval": ("text", "1m to 1d; null for quotes"),
    "month": ("date", "first day of the month, UTC"),
    "file": ("text", "below the folder of exports (HL_EXPORT_FOLDER)"),
    "rows": ("bigint", "rows in the file"),
    "bytes": ("bigint", "its size"),
    "sha256": ("bytea", "its checksum"),
    "content": ("numeric", "what its rows say, as one number"),
    "dropped_at": ("timestamptz", "when its rows went, market time, UTC"),
    "restored_at": ("timestamptz", "when they were loaded again; null while they are gone"),
}
RUNS = "Dagster's live runs"


class RetentionConfig(dg.Config):
    """Whether to drop, or only to look."""

    dry_run: bool = Field(default=False, description="Only say what is due; drop nothing.")


@dg.asset(
    deps=[system_health],
    group_name=HEALTH,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    metadata={"dagster/column_schema": columns(FILE_COLUMNS), "dagster/table_name": "hl.export_file"},
)
def retention(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline], config: RetentionConfig
) -> dg.MaterializeResult:
    """Drops what is older than its bound (`HL_RETENTION_*`), nightly; months go into files first (`hl.export_file`).

    Candles are kept for ever unless `HL_RETENTION_CANDLES` says otherwise; quotes, fetches that nothing refers to,
    resolved alerts and logs for 180 days, Dagster's records of live runs for a week. A month is dropped only when its
    file was read back and holds what the table holds. The ledger, revisions and fetches that something refers to stay.

    *due* in the metadata says what went (or would, with `dry_run`), *kept* which month could not and why.
    `hl retention` shows the same; `hl retention restore` loads a month again.
    """
    bounds, now_ms = pipeline.settings.retention, pipeline.clock.now_ms()
    report = RetentionReport()
    with said_plainly():
        seen = survey(pipeline.database, bounds, now_ms)
        runs = DueRuns([], None) if bounds.runs_ms is None else due_runs(context.instance, before_ms(bounds.runs_ms))
        if not config.dry_run:
            report = apply(
                pipeline.database,
                bounds,
                pipeline.settings.exports,
                now_ms,
                halt=pipeline.policy.halt,
                say=context.log.info,
            )
            report.count(RUNS, drop_runs(context.instance, runs.run_ids, halt=pipeline.policy.halt))
    for why in report.kept:
        context.log.warning("%s", why)
    return dg.MaterializeResult(metadata=_told(seen, runs, report, is_dry=config.dry_run))


def _told(seen: Survey, runs: DueRuns, report: RetentionReport, *, is_dry: bool) -> dict[str, Any]:
    dues = [*_months(seen), *(due for due in seen.rows if due.rows)]
    if runs.run_ids:
        dues.append(DueRows(RUNS, len(runs.run_ids), 0, runs.oldest_ms))
    oldest = min((due.oldest_ms for due in dues if due.oldest_ms is not None), default=None)
    return {
        **_answered(seen, runs, report, is_dry=is_dry),
        "dry run": is_dry,
        "due": table([{"what": due.kind, "rows": due.rows, "MB": round(due.bytes / 1e6, 3)} for due in dues]),
        "dropped": table([{"what": what, "rows": rows} for what, rows in report.dropped.items()]),
        "rows dropped": sum(report.dropped.values()),
        "files": table(
            [{"file": file.file, "rows": file.rows, "MB": round(file.bytes / 1e6, 3)} for file in report.files]
        ),
        "kept": table([{"month": why} for why in report.kept]),
        "oldest that was due": instant(oldest),
    }


def _answered(seen: Survey, runs: DueRuns, report: RetentionReport, *, is_dry: bool) -> dict[str, str]:
    if report.kept:
        step = "see kept below for what each month waits for; the next night tries again"
        return answers(whole=f"no: {len(report.kept)} months are due and could not be dropped", step=step)
    if not is_dry:
        return answers(whole="yes: all that was due is dropped", step="nothing")
    if seen.is_empty and not runs.run_ids:
        return answers(whole="yes: nothing is due", step="nothing")
    return answers(
        whole="no: something is due, and this was a dry run", step="run the job apply_retention without dry_run"
    )


def _months(seen: Survey) -> Sequence[DueRows]:
    return [DueRows(month.name, month.rows, month.bytes, month.oldest_ms) for month in seen.months]
