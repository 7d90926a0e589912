"""The funding history by market and month: which months were read to their end."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import time
from collections.abc import Callable, Iterator

import dagster as dg

from hl_pipeline.collect.funding import FundingReport, refresh_funding
from hl_pipeline.collect.progress import NowAndThen
from hl_pipeline.defs import history
from hl_pipeline.defs.assets.funding_rates import FUNDING_COLUMNS, funding_metadata
from hl_pipeline.defs.describe import said_plainly
from hl_pipeline.defs.history import Chosen, history_asset
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.funding import FundingMonth
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS, request_weight
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import funding

NAME = "funding_history"
_WAIT_SECONDS = 1.0
DESCRIPTION = """Funding rates, one partition a market and month (`hl.funding_rate`).

A month is **materialized** when it was read to its end (the one under way: to now); `sealed` when it is also over. The
exchange keeps every rate since the listing, but gives the oldest first, 500 a page: a run reads on from where the
market's history stands to the end of the newest chosen month, and asks nothing when that is behind it. *never sent*
counts rates that the exchange left out between two that it sent. A month before the listing is never materialized and
says so. The newest hours are `funding_rates`' work.
"""


def _body(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> Iterator[dg.MaterializeResult]:
    with said_plainly():
        _run(context, pipeline)
    yield from ()


funding_history = history_asset(
    name=NAME, description=DESCRIPTION, table="hl.funding_rate", described=FUNDING_COLUMNS, body=_body
)


def _run(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    chosen = Chosen(context)
    speaks = NowAndThen()

    def wait() -> None:
        if speaks.is_due():
            context.log.info("another run reads funding history; this one goes on when it is done")
        time.sleep(_WAIT_SECONDS)

    with funding.reading(pipeline.database, wait):
        pages = _pages_within_ceiling(pipeline, chosen)
        context.log.info("to ask: at most %d pages of %d rates, %d weight", pages, FUNDING_PAGE_ROWS, _weight(pages))
        report = refresh_funding(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            coins=chosen.coins,
            pages=pages,
            until_ms=chosen.months[-1].end_ms,
            run_id=context.run.run_id,
            on_progress=_progress(context, pages),
        )
    for failure in report.failures:
        context.log.warning("%s", failure)
    outcome: history.Metadata = {
        "requests forecast, at most": pages,
        "weight forecast, at most": _weight(pages),
        **funding_metadata(report),
    }
    context.log_event(
        dg.AssetObservation(context.asset_key, description="forecast and actual of this run", metadata=dict(outcome))
    )
    holes = history.record_months(context, chosen, _found(pipeline, chosen), materialization)
    if holes:
        raise dg.Failure(_told(holes, report), metadata=dict(outcome), allow_retries=False)


def _weight(pages: int) -> int:
    return pages * request_weight("fundingHistory", FUNDING_PAGE_ROWS)


def _pages_within_ceiling(pipeline: Pipeline, chosen: Chosen) -> int:
    """The most pages the run can need.

    Raises:
        InvalidSetting: they weigh more than one back-fill may; nothing was asked.
    """
    pages, ceiling = _pages(_found(pipeline, chosen)), pipeline.backfill_ceiling.weight
    if _weight(pages) > ceiling:
        raise InvalidSetting(
            f"this needs up to {_weight(pages):,} weight ({pages:,} pages), and HL_BACKFILL_MAX_WEIGHT allows "
            f"{ceiling:,}: choose fewer markets, or raise it; nothing was asked"
        )
    return pages


def _progress(context: dg.AssetExecutionContext, pages: int) -> Callable[[FundingReport], None]:
    """Tells the run's log now and then how far the reading is."""
    speaks = NowAndThen()

    def advance(report: FundingReport) -> None:
        if speaks.is_due():
            context.log.info(
                "%d of at most %d pages, %d weight, %d rates", report.landed, pages, report.weight, report.received
            )

    return advance


def _found(pipeline: Pipeline, chosen: Chosen) -> list[FundingMonth]:
    with pipeline.database.connection() as connection:
        return funding.months(
            connection,
            coins=chosen.coins,
            month_starts_ms=[month.start_ms for month in chosen.months],
            now_ms=pipeline.clock.now_ms(),
        )


def _pages(found: list[FundingMonth]) -> int:
    """The most pages it can take to read each market on to the end of its newest chosen month."""
    return sum(newest.pages_to_read() for newest in {month.coin: month for month in found}.values())


def materialization(asset_key: dg.AssetKey, state: FundingMonth) -> dg.AssetMaterialization:
    """The event that says a market's month of funding is read."""
    return history.materialization(
        asset_key,
        state,
        {
            "coverage %": round(100 * min(1.0, state.rows / state.due), 4) if state.due else 100.0,
            "rates due": state.due,
            "never sent": state.never_sent,
        },
    )


def _told(holes: list[FundingMonth], report: FundingReport) -> str:
    return history.with_holes(
        holes,
        f" First failure: {report.failures[0]}." if report.failures else "",
        "Run the failed ones again: reading goes on where it stands",
    )
