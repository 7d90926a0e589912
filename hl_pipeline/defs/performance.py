"""What a run of candles cost and how fast it was: kept in hl.performance_history, shown as numbers to plot."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from hl_pipeline.collect.fill import FillReport, Progress
from hl_pipeline.collect.limits import process_use, within_memory
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.performance import RunPerformance
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import performance


@dataclass(slots=True)
class RunWatch:
    """Sees a run's fill go on, ends it when it grows too large, and knows afterwards how it fared.

    ``advance`` goes where the fill takes its ``on_progress``; ``then`` is told after the limit let it pass.
    """

    most_mb: int
    then: Progress | None = None
    failed: int = 0
    found: RunPerformance | None = None
    _within: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._within = within_memory(self.most_mb)

    def advance(self, report: FillReport) -> None:
        """One more answer landed, or failed."""
        self.failed = len(report.failures)
        if self.then is not None:
            self.then(report)
        self._within(report)

    def metadata(self) -> dict[str, float | int]:
        """The figures of the whole run so far; those that cannot be said are left out."""
        run = self.found
        if run is None:
            return {}
        told = {
            "run seconds": run.seconds,
            "candles per second": run.candles_per_second,
            "API latency median ms": run.p50_ms,
            "API latency p99 ms": run.p99_ms,
            "API error rate %": 100 * run.error_rate,
            "answers of 429": run.refused,
            "peak memory MB": run.peak_memory_mb,
            "CPU seconds": run.cpu_seconds,
        }
        return {name: round(value, 3) for name, value in told.items() if value is not None}


@contextmanager
def watched(
    context: dg.AssetExecutionContext, pipeline: Pipeline, lane: str, then: Progress | None = None
) -> Iterator[RunWatch]:
    """Watch the fill in the block and record how the run fared, whether it ends well or not.

    A database that is gone cannot keep the row; that is logged, and the block's own error stays the run's.
    """
    watch = RunWatch(pipeline.settings.run_memory_mb, then)
    began, started_ms, succeeded = time.monotonic(), pipeline.clock.now_ms(), False
    try:
        yield watch
        succeeded = True
    finally:
        use = process_use()
        try:
            with pipeline.database.connection() as connection:
                watch.found = performance.record(
                    connection,
                    context.run.run_id,
                    lane,
                    started_ms=started_ms,
                    seconds=time.monotonic() - began,
                    failed=watch.failed,
                    succeeded=succeeded,
                    peak_memory_mb=use.peak_memory_mb,
                    cpu_seconds=use.cpu_seconds,
                )
        except PipelineError as error:
            context.log.warning("how this run fared is not recorded: %s", error)
