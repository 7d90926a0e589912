"""The gaps behind the live edge, worked off by deadline in a run of their own."""

# no postponed annotations here: Dagster refuses a context whose type is a string

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.drain import MOST_REQUESTS, drain, due_queue
from hl_pipeline.defs.assets.live_candles import fill_metadata, live_candles
from hl_pipeline.defs.describe import CANDLES, KINDS, OWNERS, columns, instant, said_plainly, table
from hl_pipeline.model.gap_queue import GapQueue, summed_up
from hl_pipeline.model.open_gap import WORDS, recoverable
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
}


class DrainSize(dg.Config):
    """How much one run may ask."""

    max_requests: int = Field(
        default=MOST_REQUESTS,
        ge=1,
        description="Requests at most; the rest stays in the queue for the next run, nearest deadline first.",
    )


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
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline], config: DrainSize
) -> dg.MaterializeResult:
    """Slots that are due and not settled (`hl.gap`), each with its reason and when the exchange forgets it.

    `live_candles` looks after the newest 240 slots of a series; what is older waits here, nearest deadline first, then
    the market with the larger volume. A run asks for what is due, in the `gap` lane; what is under 12 h from its
    deadline in the `urgent_gap` lane, which outranks the live edge. When the queue stays long, read *reasons* and
    *failures*; `hl gaps` lists every gap. Past its deadline a slot is lost, with an alert.
    """
    with said_plainly():
        report = drain(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.policy,
            most_requests=config.max_requests,
            run_id=context.run.run_id,
        )
        now_ms = pipeline.clock.now_ms()
        left = due_queue(pipeline.database, now_ms, pipeline.policy.proof)
        queue = read_queue(pipeline, now_ms)
    for failure in report.failures:
        context.log.warning("%s", failure)
    return dg.MaterializeResult(
        metadata={
            **queue_metadata(queue, now_ms),
            "still due": left.slots,
            "still due, requests": len(left.requests),
            **fill_metadata(report),
        }
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
