"""The live edge of every tracked series, in one step: a partitioned tick would cost half a minute of bookkeeping."""

# no postponed annotations here: Dagster refuses a context whose type is a string

import dagster as dg

from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.defs.assets.markets import adopt_markets, markets, record_markets
from hl_pipeline.defs.describe import (
    CANDLES,
    KINDS,
    NOT_NULL,
    OWNERS,
    answers,
    columns,
    instant,
    said_plainly,
    table,
)
from hl_pipeline.defs.performance import watched
from hl_pipeline.defs.pictures import heat_picture, pictures
from hl_pipeline.health.verdict import freshness_bound_s
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.open_gap import OpenGap, recoverable
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import coverage, series, status_page
from hl_pipeline.storage.coverage import IntervalCoverage
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.gaps import open_gaps

CANDLE_COLUMNS = {
    "coin": ("text", "the exchange's name of the market", NOT_NULL),
    "interval": ("text", "1m, 5m, 15m, 1h, 4h or 1d", NOT_NULL),
    "open_time": (
        "timestamptz",
        "first instant of the slot, UTC; the slot is [open_time, close_time)",
        NOT_NULL,
        "on the interval's grid",
    ),
    "close_time": ("timestamptz", "first instant after the slot, UTC", NOT_NULL),
    "open": ("numeric", "quote currency, exact as sent", NOT_NULL, "> 0"),
    "high": ("numeric", "quote currency, exact as sent", NOT_NULL, ">= open, close, low"),
    "low": ("numeric", "quote currency, exact as sent", NOT_NULL, "> 0, <= open, close"),
    "close": ("numeric", "quote currency, exact as sent", NOT_NULL, "> 0"),
    "volume": (
        "numeric",
        "coins traded, exact as sent; of a derived candle the exact sum of its minutes",
        NOT_NULL,
        ">= 0",
    ),
    "trades": ("integer", "trades in the slot; 0 is a quiet slot", NOT_NULL, ">= 0"),
    "finality": ("text", "open (still forming), provisional (read too early to be trusted) or final", NOT_NULL),
    "source": ("text", "rest, stream, archive or derived", NOT_NULL),
    "is_synthetic": ("boolean", "no trade and moving prices: a reference price from before the listing"),
}
CANDLE_RULES = ("one row a coin, interval and open_time",)
# One sample is enough to look at; all failures are in hl.fetch
SHOWN_FAILURES = 20
DAY_MS = 86_400_000
HEAT_DAYS = 14


@dg.asset(
    deps=[markets],
    group_name=CANDLES,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "live"},
    metadata={"dagster/column_schema": columns(CANDLE_COLUMNS, *CANDLE_RULES), "dagster/table_name": "hl.candles"},
)
def live_candles(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Newest candles of every tracked market at all six intervals (`hl.candles`).

    1m is read from the exchange; 5m to 1d are made from complete 1m candles (*source* derived) and replaced by the
    exchange's own once a day; `reconciles_5m` to `reconciles_1d` of `data_contracts` hold one against the other.

    One tick asks for what the ledger says is due of the live edge of each series, four hours of 1m (of a new one all
    there is), and proves what came; older gaps are `gap_queue`'s work. Fresh: the newest closed 1m candle is
    at most interval + period + settle + 60 s old. In the pictures green is final, pale proven empty, yellow
    provisional, red missing, grey lost. *nearest deadline* says how long the missing slots can still
    be had (`hl gaps` lists them). When slots stay a **gap**, look at *failures*: a request that got no answer is asked
    again by a later tick, without a hand. Running it twice changes nothing and costs almost no weight.
    """
    with said_plainly():
        _adopt_if_new(context, pipeline)
        with watched(context, pipeline, "live") as watch:
            report = fill(
                pipeline.source,
                pipeline.database,
                pipeline.clock,
                pipeline.policy,
                only=live_slots,
                run_id=context.run.run_id,
                on_progress=watch.advance,
            )
        with pipeline.database.connection() as connection:
            now_ms = pipeline.clock.now_ms()
            settled = coverage.by_interval(connection, now_ms, pipeline.policy.proof.settle_ms)
            drawn = _drawn(connection, pipeline, now_ms)
            gaps = open_gaps(
                connection, now_ms, settle_ms=pipeline.policy.proof.settle_ms, period_ms=pipeline.period_ms
            )
    for failure in report.failures:
        context.log.warning("%s", failure)
    if report.lost:
        context.log.error("%d slots are lost: the exchange forgot them first; see the alerts in hl status", report.lost)
    if report.failures and not report.landed:
        raise dg.Failure(
            f"all {len(report.failures)} requests failed, nothing was stored; the next tick asks again. "
            f"The first: {report.failures[0]}"
        )
    first = {**_answered(pipeline, now_ms, settled, gaps), **drawn, **gap_metadata(gaps, now_ms)}
    told = {**first, **coverage_metadata(settled), **fill_metadata(report)}
    told["settle time"] = pipeline.settle.sentence
    return dg.MaterializeResult(metadata={**told, **watch.metadata()})


def _answered(
    pipeline: Pipeline, now_ms: int, settled: list[IntervalCoverage], gaps: list[OpenGap]
) -> dict[str, dg.MetadataValue | int | float | str]:
    """Fresh, whole, and what to do; a gap that is young or about to be asked for needs nobody."""
    if not settled or settled[0].newest_close_ms is None:
        return {**answers(fresh="no: no candle is stored yet", step="read the failures below, then run this job again")}
    finest, age_s = settled[0], (now_ms - (settled[0].newest_close_ms or 0)) // 1000
    bound_s = freshness_bound_s(finest.interval, pipeline.period_ms / 1000, pipeline.policy.proof.settle_ms / 1000)
    is_fresh, missing = age_s <= bound_s, [gap for gap in gaps if not gap.is_young]
    slots, lost = sum(gap.slots for gap in missing), sum(found.lost for found in settled)
    step = "nothing"
    if missing:
        step = "run the job drain_gaps, or let its sensor do it; `hl gaps` says of each gap why it is open"
    if not is_fresh:
        step = "is the schedule collect_each_minute on (Automation)? What does the last run of collect say?"
    newest = f"the newest closed {finest.interval} candle is {age_s} s old, at most {bound_s:.0f} s is fresh"
    held = f"{sum(found.final + found.empty for found in settled):,} slots are settled"
    told = answers(
        fresh=f"{'yes' if is_fresh else 'no'}: {newest}",
        whole=f"no: {slots:,} slots are missing; {held}" if missing else f"yes: {held}, none is missing",
        step=step,
    )
    return {**told, **({"lost for good": lost} if lost else {})}


def fill_metadata(report: FillReport) -> dict[str, dg.MetadataValue | int | str]:
    """What one fill asked, spent and changed."""
    return {
        "requests": report.planned,
        "rows received": report.received,
        "rows inserted": report.inserted,
        "rows updated": report.updated,
        "revisions": report.revised,
        "rows refused": report.rejected,
        "weight spent": report.weight,
        "slots settled": report.settled_final + report.settled_empty,
        "slots derived": report.derived,
        "answers refused, another run took over": report.superseded,
        "slots lost": report.lost,
        "requests put off for lack of weight": report.skipped,
        "failures": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.failures[:SHOWN_FAILURES]) or "none"),
    }


def coverage_metadata(settled: list[IntervalCoverage]) -> dict[str, dg.MetadataValue | int | float]:
    """Coverage interval by interval, few columns so that the page shows all; and how old the newest candle is."""
    rows = [
        {
            "interval": str(found.interval),
            "due": found.due,
            "final": found.final,
            "empty": found.empty,
            "lost": found.lost,
            "provisional": found.provisional,
            "gap": found.gap,
            "%": round(100 * found.share, 3),
        }
        for found in settled
    ]
    due = sum(found.due - found.lost for found in settled)
    gap = sum(found.gap for found in settled)
    return {
        "coverage": table(rows),
        "coverage %": round(100 * (1 - gap / due), 4) if due else 100.0,
        "newest closed candle": instant(settled[0].newest_close_ms if settled else None),
        "dagster/row_count": sum(found.final for found in settled),
    }


def gap_metadata(gaps: list[OpenGap], now_ms: int) -> dict[str, int | str]:
    """How many slots are missing, those too young to be trusted apart, and how long the first can still be had."""
    missing = [gap for gap in gaps if not gap.is_young]
    return {
        "gaps": sum(gap.slots for gap in missing),
        "nearest deadline": recoverable(missing[0].deadline_ms, now_ms) if missing else "no gap is open",
    }


def _drawn(connection: Connection, pipeline: Pipeline, now_ms: int) -> dict[str, dg.MetadataValue]:
    """All markets day by day, and the last day of the first one's finest series: one look tells whether data flows."""
    finest = min(pipeline.settings.intervals, key=lambda interval: interval.milliseconds)
    key = SeriesKey(pipeline.settings.markets[0], finest)
    found = pictures(connection, pipeline, key, Span(now_ms - DAY_MS, now_ms))
    heat = status_page.market_days(
        connection,
        now_ms,
        days=HEAT_DAYS,
        settle_ms=pipeline.policy.proof.settle_ms,
        period_ms=pipeline.period_ms,
    )
    drawn = {f"{name}: {key.coin} {finest}": picture for name, picture in found.items()}
    return {**heat_picture(heat), **drawn}


def _adopt_if_new(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    """A database that tracks nothing yet learns its markets now, not at the next hour."""
    with pipeline.database.connection() as connection:
        known = series.load(connection)
    if not known:
        record_markets(context, adopt_markets(context, pipeline))
