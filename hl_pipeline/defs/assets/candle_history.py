"""The candle history by market and month: six assets that say which months are whole.

A run asks for what is missing in the chosen months, then records each month
that the ledger calls whole, one event a month. Dagster would record every
chosen month of a run that ends well, so the step yields no output of its own.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.defs.assets.live_candles import CANDLE_COLUMNS
from hl_pipeline.defs.assets.markets import MARKETS_VERSION, markets
from hl_pipeline.defs.describe import HISTORY, KINDS, OWNERS, columns, said_plainly
from hl_pipeline.defs.partitions import by_market_and_month, market_and_month, month_span
from hl_pipeline.defs.pictures import pictures
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval, to_datetime, to_ms
from hl_pipeline.model.plan import plan
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import partitions, series
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.partitions import PartitionState

#: How the data version of a month begins that is over and whole.
SEALED = "sealed"
#: The one tag that Dagster gives back for all partitions at once.
DATA_VERSION = "dagster/data_version"
CODE_VERSION = "1"
#: Digits of the content hash that are shown; the data version carries them all.
SHOWN_DIGITS = 16
DESCRIPTION = """{interval} candles, one partition a market and month (`hl.candles` where interval = '{interval}').

A month is **materialized** when every slot that is due and that the exchange still has is final or proven empty;
`sealed` when it is also over. A month with holes stays failed or missing: run it again later, each run asks only for
what is missing. A month with nothing reachable is never materialized; the run's log says why. The exchange keeps the
newest 5000 candles, so {interval} reaches back {reach}. The live edge is `live_candles`' work, also in these months.
"""
_REACH = {"1m": "3.5 days", "5m": "17 days", "15m": "52 days", "1h": "208 days", "4h": "2.3 years", "1d": "13.7 years"}


class CandleWindow(dg.Config):
    """Which part of the chosen months to ask for, and how much at most."""

    start: str | None = Field(
        default=None, description="Ask from this instant on, ISO 8601 with its zone: 2026-01-10T06:00:00Z."
    )
    end: str | None = Field(default=None, description="Ask up to this instant, exclusive, ISO 8601 with its zone.")
    max_requests: int = Field(default=500, ge=1, description="Refuse to begin when more requests would be needed.")

    def within(self, months: Sequence[Span]) -> Span:
        """The span to ask for: the months' hull, cut to ``start`` and ``end``.

        Raises:
            InvalidSetting: an instant cannot be read, or nothing is left.
        """
        start = max(months[0].start_ms, _instant("start", self.start, months[0].start_ms))
        end = min(months[-1].end_ms, _instant("end", self.end, months[-1].end_ms))
        if start >= end:
            raise InvalidSetting(
                f"start {self.start} and end {self.end} leave nothing of the chosen months: widen them or choose others"
            )
        return Span(start, end)


def _instant(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        return to_ms(datetime.fromisoformat(text))
    except ValueError as error:
        raise InvalidSetting(
            f"{name} = {text!r} is not an instant: write ISO 8601 with its zone, like 2026-01-10T06:00:00Z"
        ) from error


def candle_history(interval: Interval) -> dg.AssetsDefinition:
    """The asset ``candles_<interval>``."""

    def body(
        context: dg.AssetExecutionContext, config: CandleWindow, pipeline: dg.ResourceParam[Pipeline]
    ) -> Iterator[dg.MaterializeResult]:
        with said_plainly():
            _run(context, config, pipeline, interval)
        yield from ()

    with warnings.catch_warnings():
        # beta since 1.5 and the only way to one run for a whole range
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        return dg.asset(
            name=asset_name(interval),
            description=DESCRIPTION.format(interval=interval, reach=_REACH[str(interval)]),
            deps=[markets],
            group_name=HISTORY,
            owners=OWNERS,
            kinds=KINDS,
            code_version=CODE_VERSION,
            tags={"hl/lane": "backfill"},
            metadata={"dagster/column_schema": columns(CANDLE_COLUMNS), "dagster/table_name": "hl.candles"},
            partitions_def=by_market_and_month,
            backfill_policy=dg.BackfillPolicy.single_run(),
            output_required=False,
        )(body)


def asset_name(interval: Interval) -> str:
    """``candles_1m`` for 1m."""
    return f"candles_{interval}"


def _run(context: dg.AssetExecutionContext, config: CandleWindow, pipeline: Pipeline, interval: Interval) -> None:
    chosen = [market_and_month(key) for key in context.partition_keys]
    coins = sorted({coin for coin, _ in chosen})
    months = [month_span(month) for month in sorted({month for _, month in chosen})]
    report = _fetch(context, config, pipeline, interval, coins, months)
    for failure in report.failures:
        context.log.warning("%s", failure)
    with pipeline.database.connection() as connection:
        found = partitions.states(
            connection,
            interval,
            coins=coins,
            month_starts_ms=[month.start_ms for month in months],
            now_ms=pipeline.clock.now_ms(),
            settle_ms=pipeline.policy.proof.settle_ms,
        )
        by_key = {(state.coin, state.month_ms): state for state in found}
        months_found = [by_key.get((coin, month_span(month).start_ms)) for coin, month in chosen]
        for key, state in zip(context.partition_keys, months_found, strict=True):
            _record(context, connection, pipeline, interval, key, state)
    holes = [state for state in months_found if state is not None and state.gap]
    if holes:
        raise dg.Failure(_told(holes, report), allow_retries=False)


def _fetch(
    context: dg.AssetExecutionContext,
    config: CandleWindow,
    pipeline: Pipeline,
    interval: Interval,
    coins: Sequence[str],
    months: Sequence[Span],
) -> FillReport:
    window = config.within(months)
    policy = replace(pipeline.policy, lane="backfill")
    with pipeline.database.connection() as connection:
        known = series.load(connection, coins=coins, intervals=[interval])
    planned = plan(known, pipeline.clock.now_ms(), policy.proof, window=window)
    if len(planned) > config.max_requests:
        weight = sum(request.weight for request in planned)
        raise InvalidSetting(
            f"{len(planned)} requests ({weight} weight) are needed and max_requests is {config.max_requests}: "
            "raise it, or choose fewer months; nothing was asked"
        )
    return fill(
        pipeline.source,
        pipeline.database,
        pipeline.clock,
        policy,
        coins=coins,
        intervals=[interval],
        window=window,
        run_id=context.run.run_id,
    )


def _record(
    context: dg.AssetExecutionContext,
    connection: Connection,
    pipeline: Pipeline,
    interval: Interval,
    key: str,
    state: PartitionState | None,
) -> None:
    """Materialize the month if it is whole; otherwise say why not."""
    if state is None:
        context.log.warning("%s is not materialized: the exchange has no such market", key)
    elif state.is_whole:
        drawn = _drawn(connection, pipeline, interval, state)
        context.log_event(materialization(context.asset_key, state, drawn))
    else:
        log = context.log.warning if state.gap else context.log.info
        log("%s is not materialized: %s", key, state.story)


def _drawn(
    connection: Connection, pipeline: Pipeline, interval: Interval, state: PartitionState
) -> dict[str, dg.MetadataValue]:
    month = month_span(partition_key(state).keys_by_dimension["month"])
    return pictures(connection, pipeline, SeriesKey(state.coin, interval), month)


def partition_key(state: PartitionState) -> dg.MultiPartitionKey:
    """Dagster's key of the market and month."""
    month = to_datetime(state.month_ms).strftime("%Y-%m-%d")
    return dg.MultiPartitionKey({"market": state.coin, "month": month})


def data_version(state: PartitionState) -> str:
    """Equal for equal content; begins with ``sealed`` once the month is over and whole."""
    return f"{SEALED if state.is_sealed else 'open'}-{state.content_hash or 'empty'}"


def materialization(
    asset_key: dg.AssetKey, state: PartitionState, drawn: Mapping[str, dg.MetadataValue] | None = None
) -> dg.AssetMaterialization:
    """The event that says a market's month is whole, with what it holds."""
    reachable = state.due - state.lost
    return dg.AssetMaterialization(
        asset_key=asset_key,
        partition=partition_key(state),
        description=state.story,
        tags={
            DATA_VERSION: data_version(state),
            "dagster/code_version": CODE_VERSION,
            # both, or the UI calls the month out of date: a runless event names its inputs itself
            "dagster/input_data_version/markets": MARKETS_VERSION,
            "dagster/input_event_pointer/markets": "NULL",
        },
        metadata={
            "dagster/partition_row_count": state.rows,
            "sealed": state.is_sealed,
            "coverage %": round(100 * (state.final + state.empty) / reachable, 4) if reachable else 100.0,
            "slots due": state.due,
            "final": state.final,
            "proven empty": state.empty,
            "lost": state.lost,
            "revisions": state.revisions,
            "content hash": (state.content_hash or "no rows")[:SHOWN_DIGITS],
            **(drawn or {}),
        },
    )


def _told(holes: Sequence[PartitionState], report: FillReport) -> str:
    shown = "; ".join(f"{partition_key(state)}: {state.story}" for state in holes[:10])
    more = f" and {len(holes) - 10} more" if len(holes) > 10 else ""
    why = f" First failure: {report.failures[0]}." if report.failures else ""
    return (
        f"{len(holes)} of the chosen months have holes: {shown}{more}.{why} All others are recorded. Run the failed "
        "ones again: an absence is proven by asking twice, 30 minutes apart"
    )
