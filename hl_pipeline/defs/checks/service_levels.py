"""Whether the promises are kept, and whether the newest runs are as fast and small as those before."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs.assets.service_levels import measured, service_levels
from hl_pipeline.defs.checks.outcome import judging, result_of, specs_of
from hl_pipeline.health.service_levels import JUDGED, MOST_RUNS, on_objectives, on_regression
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import performance

_DESCRIBED = {
    "service_levels_met": "No error budget of the last seven days is overspent; a promise without anything to measure "
    "is named, and no finding. When it fails: the table of `service_levels` says which, and whether the last 24 hours "
    "were better; `docs/service-levels.md` says what to do about each.",
    "performance_has_not_regressed": "In each lane the medians of the newest ten runs (candles a second, p99 latency, "
    "peak memory, processor time) are within what the runs before scatter by, and within a factor of 1.5 of their "
    "median; silent until a lane has thirty runs. When it fails: look at `hl.performance_history` for when it began, "
    "and what changed then: code, markets, the machine, the way to the exchange.",
}


@dg.multi_asset_check(
    name="promises",
    specs=specs_of(service_levels, _DESCRIBED),
    can_subset=True,
    description="The service levels over seven days, and the newest runs against those before.",
)
def promises(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Judge the chosen checks; one that cannot be judged fails the step, it never passes."""
    chosen = {key.name: key for key in context.selected_asset_check_keys}
    with judging("promises"):
        verdicts = [on_objectives(measured(pipeline)[JUDGED])]
        with pipeline.database.connection() as connection:
            verdicts.append(on_regression(performance.newest(connection, MOST_RUNS)))
    for verdict in verdicts:
        if key := chosen.get(verdict.name):
            yield result_of(key, verdict)
