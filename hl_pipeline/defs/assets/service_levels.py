"""The promises with numbers: what was measured over a day and a week, and how much may still go wrong."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Mapping, Sequence

import dagster as dg

from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.gap_queue import gap_queue
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.defs.assets.system_health import system_health
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, answers, columns, said_plainly, table
from hl_pipeline.health.service_levels import JUDGED, OBJECTIVES, WINDOWS, budgets
from hl_pipeline.model.service_level import ErrorBudget
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import service_levels as store

HISTORY_COLUMNS = {
    "run_id": ("text", "Dagster's id of the run"),
    "lane": ("text", "live, gap or backfill"),
    "started_at": ("timestamptz", "when it began, market time, UTC"),
    "succeeded": ("boolean", "whether all its steps ended well"),
    "seconds": ("real", "of planning, asking and landing, waits for request weight included"),
    "requests": ("integer", "candle requests sent"),
    "failed": ("integer", "of them, those without a usable answer"),
    "refused": ("integer", "answers of 429 met on the way"),
    "weight": ("integer", "request weight spent"),
    "candles": ("bigint", "rows received and not refused"),
    "p50_ms": ("real", "median latency of the answered requests, ms"),
    "p99_ms": ("real", "99th percentile of it, ms"),
    "peak_memory_mb": ("real", "the most memory its process ever held, MB of 1,000,000 bytes"),
    "cpu_seconds": ("real", "processor time of its process, s"),
    "candles_per_second": ("real", "candles over seconds; null when none was received"),
}


@dg.asset(
    deps=[live_candles, gap_queue, confidence_scores, system_health],
    group_name=HEALTH,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    metadata={"dagster/column_schema": columns(HISTORY_COLUMNS), "dagster/table_name": "hl.performance_history"},
)
def service_levels(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Eight promises with a number each, what was measured of them, and what is left of their error budgets; hourly.

    Throughput, latency, error rate, coverage, freshness, confidence, time to repair and memory, over 24 hours and over
    seven days. The table is `hl.performance_history`, one row a run of the live, gap and backfill lanes. *error budget
    left %* is 100 while nothing went wrong and below 0 when more did than may: `service_levels_met` then warns, and
    `performance_has_not_regressed` when the newest runs of a lane are much slower or larger than those before.
    `docs/service-levels.md` states each, how it is measured and what to do.
    """
    with said_plainly():
        found = measured(pipeline)
    return dg.MaterializeResult(metadata=told(found))


def measured(pipeline: Pipeline) -> Mapping[str, Sequence[ErrorBudget]]:
    """Every objective over every window."""
    with pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        return {
            name: budgets(store.measure(connection, now_ms, length, OBJECTIVES)) for name, length in WINDOWS.items()
        }


def told(found: Mapping[str, Sequence[ErrorBudget]]) -> dict[str, dg.MetadataValue | float | int | str]:
    """A table to read, and numbers to plot; what was not measured stands in the table alone."""
    rows = [_row(window, budget) for window, of_window in found.items() for budget in of_window]
    numbers: dict[str, float | int] = {}
    for window, of_window in found.items():
        for budget in of_window:
            objective, figure = budget.objective, budget.measured.figure
            if figure is not None:
                unit = f" {objective.unit}" if objective.unit else ""
                numbers[f"{objective.name}: {objective.figure}{unit}, {window}"] = round(figure, 4)
    judged = found[JUDGED]
    return {
        **_answered(judged),
        "service levels": table(rows),
        "missed": sum(not budget.is_met for budget in judged),
        "not measured": sum(not budget.is_measured for budget in judged),
        **{f"{budget.objective.name}: error budget left %, {JUDGED}": _left(budget) for budget in judged},
        **numbers,
    }


def _answered(judged: Sequence[ErrorBudget]) -> dict[str, str]:
    missed = [budget.objective.name for budget in judged if not budget.is_met]
    kept = [budget for budget in judged if budget.is_measured and budget.is_met]
    silent = len(judged) - len(kept) - len(missed)
    return answers(
        whole=f"{len(kept)} of {len(judged)} promises are met over {JUDGED}"
        + (f", {silent} had nothing to measure" if silent else ""),
        step=f"docs/service-levels.md says what to do about {', '.join(missed)}" if missed else "nothing",
    )


def _row(window: str, budget: ErrorBudget) -> dict[str, str | int | float]:
    objective, measured_ = budget.objective, budget.measured
    figure = "-" if measured_.figure is None else f"{measured_.figure:,.2f} {objective.unit}".rstrip()
    good = budget.good_share
    return {
        "promise": f"{objective.name}: {float(100 * objective.target):g} % of {objective.events}: {objective.rule}",
        "over": window,
        "met": "not measured" if not budget.is_measured else "yes" if budget.is_met else "NO",
        "good %": "-" if good is None else f"{100 * good:.4f}",
        "target %": f"{float(100 * objective.target):g}",
        "figure": f"{objective.figure} {figure}",
        "bad": measured_.bad,
        "of": measured_.events,
        "error budget left %": _left(budget),
    }


def _left(budget: ErrorBudget) -> float:
    """In percent; where nothing may go wrong and something did, -100."""
    return -100.0 if budget.left == float("-inf") else round(100 * budget.left, 2)
