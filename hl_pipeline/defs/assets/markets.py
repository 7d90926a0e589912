"""The exchange's markets and what it quotes for them."""

# no postponed annotations here: Dagster refuses a context whose type is a string

import dagster as dg

from hl_pipeline.collect.markets import MarketsReport, contexts_by_stream, refresh_contexts
from hl_pipeline.defs.describe import KINDS, OWNERS, UNIVERSE, answers, columns, instant, said_plainly, table
from hl_pipeline.defs.partitions import MARKET_PARTITIONS
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.markets import QuotesStanding, quotes_standing

MARKET_COLUMNS = {
    "coin": ("text", "the exchange's case-sensitive name: BTC, @107 (spot), xyz:TSLA (builder)"),
    "kind": ("text", "perp, spot or builder"),
    "dex": ("text", "builder dex the market belongs to; empty otherwise"),
    "sz_decimals": ("smallint", "decimal places of a size"),
    "max_leverage": ("integer", "highest leverage offered; null for spot"),
    "is_delisted": ("boolean", "the exchange lists it no more"),
    "tracked": ("boolean", "we collect its candles"),
    "tracked_by": ("text", "why: list (HL_MARKETS) or universe (HL_UNIVERSE); null when it is not collected"),
    "volume_rank": ("integer", "rank by notional volume of 24 h among listed perpetual markets; 1 is the largest"),
    "outside_since": ("timestamptz", "since when it has stood beyond the rank that stays; it leaves after three days"),
    "universe_index": ("integer", "its place in the exchange's universe of its dex"),
    "absent_since": ("timestamptz", "since when the exchange has not named it, UTC; null when it does"),
    "first_seen": ("timestamptz", "when we first saw it, UTC"),
    "last_seen": ("timestamptz", "when the exchange last named it, UTC"),
    "delisted_seen": ("timestamptz", "when we first saw it delisted, UTC; the exchange gives no date"),
}
CONTEXT_COLUMNS = {
    "seen_at": ("timestamptz", "when we asked, UTC"),
    "mark_price": ("numeric", "quote currency; what margin is reckoned with"),
    "oracle_price": ("numeric", "quote currency; null for spot"),
    "mid_price": ("numeric", "quote currency; null when one side of the book is empty"),
    "previous_day_price": ("numeric", "mark price 24 h ago, quote currency"),
    "funding": ("numeric", "rate of the current hour, a fraction of the position"),
    "premium": ("numeric", "mark over oracle, a fraction"),
    "open_interest": ("numeric", "in coins"),
    "day_notional_volume": ("numeric", "last 24 h, quote currency"),
    "day_base_volume": ("numeric", "last 24 h, in coins"),
}

#: What depends on the markets needs them to exist, not what they quote; without a version of its own each hourly
#: refresh would mark every month of candle history as out of date.
MARKETS_VERSION = "markets"
#: So many names fit into a line of metadata; all are in hl.market_history.
SHOWN_COINS = 25


def adopt_markets(context: dg.AssetExecutionContext, pipeline: Pipeline) -> MarketsReport:
    """Refresh the markets; whoever is tracked becomes a ``market`` partition and stays one: its candles stay too."""
    report = pipeline.refresh_markets(context.run.run_id)
    context.instance.add_dynamic_partitions(MARKET_PARTITIONS, report.tracked)
    return report


def record_markets(context: dg.AssetExecutionContext, report: MarketsReport) -> None:
    """Say that another asset's step has refreshed the markets, so that they do not look as if they never were."""
    context.log_event(
        dg.AssetMaterialization(
            asset_key="markets",
            description="learned by the first collection of an empty database",
            tags={"dagster/data_version": MARKETS_VERSION, "dagster/code_version": "1"},
            metadata={"dagster/row_count": report.changes.markets, "tracked": len(report.tracked)},
        )
    )


def markets_metadata(report: MarketsReport) -> dict[str, dg.MetadataValue | int | str]:
    """What one refresh found and changed, coin by coin."""
    changes = report.changes
    step = "nothing"
    if report.unknown:
        step = f"the exchange has no {', '.join(report.unknown)}: correct HL_MARKETS (case counts)"
    return {
        **answers(whole=f"{len(report.tracked)} of {changes.markets} markets are collected", step=step),
        "dagster/row_count": changes.markets,
        "tracked": len(report.tracked),
        "newly tracked": _named(report.turned.begun),
        "tracked no more": _named(report.turned.ended),
        "newly listed": _named(changes.listed),
        "newly delisted": _named(changes.delisted),
        "listed again": _named(sorted(changes.relisted)),
        "named no more": _named(changes.absent),
        "named again": _named(changes.returned),
        "renamed": _named(changes.renamed),
        "attributes changed": changes.changed,
        "series added": report.series_added,
        "series reopened": report.reopened,
        "series begun anew": report.restarted,
        "unknown coins": ", ".join(report.unknown) or "none",
        "rows refused": table(
            [{"position": row.position, "rule": row.rule, "value": row.value} for row in report.rejected]
        ),
        "weight spent": report.weight,
    }


def _named(coins: list[str]) -> str:
    more = len(coins) - SHOWN_COINS
    return (", ".join(coins[:SHOWN_COINS]) + (f" and {more} more" if more > 0 else "")) or "none"


@dg.asset(
    group_name=UNIVERSE,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "live"},
    metadata={"dagster/column_schema": columns(MARKET_COLUMNS), "dagster/table_name": "hl.market"},
)
def markets(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Every market the exchange names, with the history of its changes (`hl.market`, `hl.market_history`).

    Refreshed hourly by `refresh_markets`; fresh when its last run is under two hours old. It chooses what is tracked
    (`HL_MARKETS`, and by volume as `HL_UNIVERSE` says), makes the series of those and feeds the `market` partitions of
    the candle history. **Unknown coins** in its metadata are wanted in `HL_MARKETS` but do not exist: correct the
    spelling (case counts). **Named no more** are missing from the exchange's answer without being delisted: look again
    after an hour, then at `hl.market_history`.
    """
    with said_plainly():
        report = adopt_markets(context, pipeline)
    if report.unknown:
        context.log.warning(
            "the exchange has no %s: correct HL_MARKETS (case counts); the others are collected",
            ", ".join(report.unknown),
        )
    return dg.MaterializeResult(data_version=dg.DataVersion(MARKETS_VERSION), metadata=markets_metadata(report))


@dg.asset(
    deps=[markets],
    group_name=UNIVERSE,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "live"},
    metadata={"dagster/column_schema": columns(CONTEXT_COLUMNS), "dagster/table_name": "hl.market_context"},
)
def market_contexts(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """What the exchange quotes for each tracked market: mark, oracle, mid, funding, open interest, volumes.

    One row a market and collection (`hl.market_context`). Fresh when `collect` ran within the last few minutes. When
    it fails, the exchange could not be asked: the error says how, and the next tick asks again. While the live stream
    brings quotes, a row a minute, nothing is asked.
    """
    with said_plainly():
        streamed = contexts_by_stream(pipeline.database, pipeline.clock)
        stored = 0
        if not streamed:
            stored = refresh_contexts(
                pipeline.source,
                pipeline.database,
                pipeline.clock,
                coins=pipeline.settings.markets,
                run_id=context.run.run_id,
            )
        standing = quotes_of(pipeline)
    told: dict[str, dg.MetadataValue | int | str] = {
        **_quoted(standing, pipeline.clock.now_ms()),
        "quotes stored": stored,
        "longest without a quote since": instant(standing.longest_without_ms),
    }
    return dg.MaterializeResult(metadata={**told, "markets quoted by the live stream": streamed} if streamed else told)


def quotes_of(pipeline: Pipeline) -> QuotesStanding:
    """How the quotes of the tracked, listed markets stand now."""
    patience_s = pipeline.quote_patience_s
    with pipeline.database.connection() as connection:
        return quotes_standing(connection, pipeline.clock.now_ms(), patience_s)


def _quoted(standing: QuotesStanding, now_ms: int) -> dict[str, str]:
    if not standing.markets:
        return answers(whole="no: no market is tracked yet", step="run the job refresh_markets")
    longest_s = (now_ms - (standing.longest_without_ms or 0)) / 1000
    return answers(
        fresh=f"no: late are {_named(standing.late)}"
        if standing.late
        else f"yes: each market was quoted within the last {longest_s:.0f} s",
        whole=f"{'no' if standing.late else 'yes'}: {standing.fresh} of {standing.markets} markets have a young quote",
        step="does the exchange still name them? See hl.market and the runs of collect" if standing.late else "nothing",
    )
