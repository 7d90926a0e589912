"""The gaps behind the live edge, worked off by deadline in a run of their own."""

# no postponed annotations here: Dagster refuses a context whose type is a string

from dataclasses import replace

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.drain import drain, due_queue
from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.defs.assets.live_candles import fill_metadata, live_candles
from hl_pipeline.defs.describe import CANDLES, KINDS, OWNERS, answers, columns, instant, said_plainly, table
from hl_pipeline.defs.instants import read_instant
from hl_pipeline.defs.performance import RunWatch, watched
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.gap_queue import GapQueue, summed_up
from hl_pipeline.model.open_gap import WORDS, recoverable
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.gaps import open_gaps

GAP_COLUMNS = {
    "series_id": ("integer", "the series, as in hl.series"),
    "slots": ("tstzrange", "a run of slots with the same story, half-open, UTC"),
    "reason": (
        "text",
        "unasked, failed, exchange_down, absent (rows on both sides of it), unpublished, rejected or provisional",
    ),
    "attempts": ("integer", "how often it was asked for"),
    "next_try": ("timestamptz", "when asking again makes sense"),
    "deadline": ("timestamptz", "when the exchange forgets the oldest of these slots"),
    "is_dead": ("boolean", "failed for good: in a dead letter (`hl dlq list`), asked for when a person retries it"),
}


class DrainConfig(dg.Config):
    """How much one run may ask; or which window it reads again instead of working off the queue."""

    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="Requests at most, HL_BATCH_REQUESTS when not given; the rest stays in the queue for the next run, "
        "nearest deadline first.",
    )
    coin: str | None = Field(
        default=None,
        description="Instead of the queue, read a window of this market again at all intervals, settled slots too: for "
        "a candle that contradicts its minutes. Goes with start and end.",
    )
    start: str | None = Field(default=None, description="From this instant on, ISO 8601, UTC unless it says otherwise.")
    end: str | None = Field(default=None, description="Up to this instant, exclusive.")

    def window(self) -> Span | None:
        """The span to read again, null for the queue.

        Raises:
            InvalidSetting: only some of the three are given, or the span is empty.
        """
        if self.coin is None and self.start is None and self.end is None:
            return None
        if self.coin is None or self.start is None or self.end is None:
            raise InvalidSetting("coin, start and end go together: give all three, or none to work off the queue")
        span = Span(read_instant("start", self.start, 0), read_instant("end", self.end, 0))
        if span.length_ms <= 0:
            raise InvalidSetting(f"start {self.start} is not before end {self.end}: nothing would be read")
        return span


@dg.asset(
    deps=[live_candles],
    group_name=CANDLES,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "gap"},
    metadata={"dagster/column_schema": columns(GAP_COLUMNS), "dagster/table_name": "hl.gap"},
)
def gap_queue(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline], config: DrainConfig
) -> dg.MaterializeResult:
    """Slots that are due and not settled (`hl.gap`), each with its reason and when the exchange forgets it.

    `live_candles` looks after the live edge, four hours of 1m; what is older waits here, nearest deadline first, then
    the market with the larger volume. A run asks for what is due, in the `gap` lane; what is under 12 h from its
    deadline in the `urgent_gap` lane, which outranks the live edge. When the queue stays long, read *reasons* and
    *failures*; `hl gaps` lists every gap. Past its deadline a slot is lost, with an alert.

    *Never materialized* is well: the sensor `drain_open_gaps` starts a run only when something older is due.
    """
    with said_plainly():
        with watched(context, pipeline, "gap") as watch:
            report = _ask(pipeline, config, context.run.run_id, watch)
            watch.failed = len(report.failures)  # of both lanes
        now_ms = pipeline.clock.now_ms()
        left = due_queue(pipeline.database, now_ms, pipeline.policy.proof)
        queue = read_queue(pipeline, now_ms)
    for failure in report.failures:
        context.log.warning("%s", failure)
    return dg.MaterializeResult(
        metadata={
            **_answered(queue, report, now_ms),
            **queue_metadata(queue, now_ms),
            "still due": left.slots,
            "still due, requests": len(left.requests),
            **fill_metadata(report),
            **watch.metadata(),
        }
    )


def _answered(queue: GapQueue, report: FillReport, now_ms: int) -> dict[str, str]:
    """Whether anything is open, and whether it needs a hand."""
    if not queue.slots:
        return answers(whole="yes: no slot is missing", step="nothing")
    step = "nothing yet: each gap has its next try, and the sensor drain_open_gaps starts the next run"
    if report.failures:
        step = "read the failures below; the next run asks again. `hl gaps` lists every gap with its reason"
    return answers(whole=f"no: {queue.story(now_ms)}", step=step)


def _ask(pipeline: Pipeline, config: DrainConfig, run_id: str, watch: RunWatch) -> FillReport:
    """Work off the queue, or read the window that the config names again."""
    window = config.window()
    if window is None:
        return drain(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.policy,
            most_requests=config.max_requests or pipeline.settings.batch_requests,
            run_id=run_id,
            on_progress=watch.advance,
        )
    return fill(
        pipeline.source,
        pipeline.database,
        pipeline.clock,
        replace(pipeline.policy, lane=str(Lane.GAP)),
        coins=[str(config.coin)],
        window=window,
        again=True,
        run_id=run_id,
        on_progress=watch.advance,
    )


def read_queue(pipeline: Pipeline, now_ms: int) -> GapQueue:
    """All open gaps in figures, those at the live edge among them."""
    with pipeline.database.connection() as connection:
        return summed_up(
            open_gaps(connection, now_ms, settle_ms=pipeline.policy.proof.settle_ms, period_ms=pipeline.period_ms)
        )


def queue_metadata(queue: GapQueue, now_ms: int) -> dict[str, dg.MetadataValue | int | str]:
    """How much is open, why, since when, and for how long it can be had."""
    nearest = "no gap is open" if queue.deadline_ms is None else recoverable(queue.deadline_ms, now_ms)
    reasons = [{"reason": WORDS[reason], "slots": slots} for reason, slots in queue.slots_by_reason.items()]
    return {
        "gaps": queue.gaps,
        "slots missing": queue.slots,
        "nearest deadline": nearest,
        "reasons": table(reasons),
        "oldest slot": instant(queue.oldest_ms),
    }
