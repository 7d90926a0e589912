"""What positions paid each hour, read forward from each market's listing to now."""

# no postponed annotations here: Dagster refuses a context whose type is a string

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.funding import HISTORY_PAGES, FundingReport, refresh_funding
from hl_pipeline.defs.assets.markets import markets
from hl_pipeline.defs.describe import KINDS, OWNERS, UNIVERSE, answers, columns, instant, said_plainly, table
from hl_pipeline.health.funding import on_funding
from hl_pipeline.health.verdict import Verdict
from hl_pipeline.model.funding import hours_between_reads
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import funding
from hl_pipeline.storage.markets import tracked

FUNDING_COLUMNS = {
    "market_id": ("integer", "the market, as in hl.market"),
    "time": (
        "timestamptz",
        "the exchange's own instant, UTC, exact to the millisecond; up to 24 minutes late",
    ),
    "rate": ("numeric", "fraction of the position for the hour (eight hours until June 2023); above 0 longs pay"),
    "premium": ("numeric", "the premium it was reckoned from, a fraction; null where the exchange sent none"),
    "fetch_id": ("bigint", "the request that brought it, as in hl.fetch"),
}
# One sample is enough to look at; all failures are in hl.fetch
SHOWN_FAILURES = 20


class FundingReach(dg.Config):
    """How much history one run may read."""

    pages: int = Field(
        default=HISTORY_PAGES,
        ge=0,
        description="Pages of older history to ask for at most, 500 rates and 45 weight each; the newest page of a "
        "market does not count. More finishes a first reading sooner.",
    )


@dg.asset(
    deps=[markets],
    group_name=UNIVERSE,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "funding"},
    metadata={"dagster/column_schema": columns(FUNDING_COLUMNS), "dagster/table_name": "hl.funding_rate"},
)
def funding_rates(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline], config: FundingReach
) -> dg.MaterializeResult:
    """Funding rates of every tracked perpetual market, from its listing on (`hl.funding_rate`).

    Each run goes on from the newest stored instant, at most `pages` pages of older history, so a first reading takes
    hours, with 50 markets a day: *history unfinished* names who is left. A market whose newest hour is stored costs
    nothing. Reading on takes at most one hundredth of the request weight: 33 markets an hour, so that with 230 each has
    its turn every seven hours, and gets all seven rates.
    **Hours missing** counts rates that the exchange never sent between two that it did: one on 2023-07-02 is its own.
    When a market fails the others go on, and the next run asks again from the same place.
    """
    with said_plainly():
        with pipeline.database.connection() as connection:
            coins = tracked(connection)
        report = refresh_funding(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            coins=coins,
            pages=config.pages,
            hourly_weight=pipeline.funding_weight,
            run_id=context.run.run_id,
        )
        with pipeline.database.connection() as connection:
            stored = funding.summary(connection, coins)
        verdict = judge_funding(pipeline)
    for failure in report.failures:
        context.log.warning("%s", failure)
    if report.failures and not report.landed:
        raise dg.Failure(
            f"the funding of {len(report.failures)} markets could not be read, nothing was stored; the next run asks "
            f"again. The first: {report.failures[0]}"
        )
    return dg.MaterializeResult(
        metadata={
            **_answered(verdict, report),
            "dagster/row_count": sum(market.rates for market in stored),
            "newest rate": instant(max((market.newest_ms for market in stored if market.newest_ms), default=None)),
            "markets behind": int(verdict.numbers.get("behind") or 0),
            "markets with a later turn": report.put_off,
            "hours missing": sum(market.missing for market in stored),
            "markets": table([market._asdict() for market in stored]),
            **funding_metadata(report),
        }
    )


def _answered(verdict: Verdict, report: FundingReport) -> dict[str, str]:
    found, _, step = verdict.sentence.partition(". Next: ")
    unfinished = f"no: the history of {len(report.unfinished)} markets is being read, a part each hour"
    return answers(
        fresh=f"{'yes' if verdict.passed else 'no'}: {found}",
        whole=unfinished if report.unfinished else "yes: every market is read from its listing on",
        step=step or "nothing",
    )


def judge_funding(pipeline: Pipeline) -> Verdict:
    """Whether the newest rates are young enough at this moment."""
    with pipeline.database.connection() as connection:
        progress = funding.progress(connection, tracked(connection))
    hours = hours_between_reads(sum(not market.ended for market in progress), pipeline.funding_weight)
    return on_funding(pipeline.clock.now_ms(), progress, hours)


def funding_metadata(report: FundingReport) -> dict[str, dg.MetadataValue | int | str]:
    """What one refresh asked, spent and stored."""
    return {
        "requests answered": report.landed,
        "rates received": report.received,
        "rates stored": report.inserted,
        "rates stored before": report.repeated,
        "rows refused": report.rejected,
        "weight spent": report.weight,
        "history unfinished": ", ".join(sorted(report.unfinished)) or "none",
        "failures": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.failures[:SHOWN_FAILURES]) or "none"),
    }
