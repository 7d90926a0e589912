"""The candle history by market and month: six assets that say which months are whole.

A run says first what it will ask and which months cannot be had, asks for what
is missing in the chosen months, records each month that the ledger calls whole,
and holds the forecast beside what came.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.backfill import backfill
from hl_pipeline.collect.fill import FillReport
from hl_pipeline.collect.forecast import BackfillForecast
from hl_pipeline.collect.progress import Progress, compared
from hl_pipeline.defs import history
from hl_pipeline.defs.assets.live_candles import CANDLE_COLUMNS
from hl_pipeline.defs.describe import said_plainly, table
from hl_pipeline.defs.history import Chosen, history_asset, partition_key
from hl_pipeline.defs.instants import read_instant
from hl_pipeline.defs.months import evaluations
from hl_pipeline.defs.partitions import month_span
from hl_pipeline.defs.performance import watched
from hl_pipeline.defs.pictures import pictures
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import partitions
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.partitions import PartitionState

DESCRIPTION = """{interval} candles, one partition a market and month (`hl.candles` where interval = '{interval}').

A month is **materialized** when every slot that is due and that the exchange still has is final or proven empty;
`sealed` when it is also over. A month with holes stays failed or missing: run it again later, each run asks only for
what is missing. A month with nothing reachable is never materialized; the run's log and the month's page say why, and a
back-fill that includes one ends as *Failed* in Dagster's list though its runs succeeded. The exchange keeps the newest
5000 candles, so {interval} reaches back {reach}. `backfill_forecast` says what a run would cost. The live edge is
`live_candles`' work.
"""
_REACH = {"1m": "3.5 days", "5m": "17 days", "15m": "52 days", "1h": "208 days", "4h": "2.3 years", "1d": "13.7 years"}


class CandleWindow(dg.Config):
    """Which part of the chosen months to ask for."""

    start: str | None = Field(
        default=None, description="Ask from this instant on, ISO 8601 with its zone: 2026-01-10T06:00:00Z."
    )
    end: str | None = Field(default=None, description="Ask up to this instant, exclusive, ISO 8601 with its zone.")

    def within(self, months: Sequence[Span]) -> Span:
        """The span to ask for: the months' hull, cut to ``start`` and ``end``.

        Raises:
            InvalidSetting: an instant cannot be read, or nothing is left.
        """
        start = max(months[0].start_ms, read_instant("start", self.start, months[0].start_ms))
        end = min(months[-1].end_ms, read_instant("end", self.end, months[-1].end_ms))
        if start >= end:
            raise InvalidSetting(
                f"start {self.start} and end {self.end} leave nothing of the chosen months: widen them or choose others"
            )
        return Span(start, end)


def candle_history(interval: Interval) -> dg.AssetsDefinition:
    """The asset ``candles_<interval>``."""

    def body(
        context: dg.AssetExecutionContext, config: CandleWindow, pipeline: dg.ResourceParam[Pipeline]
    ) -> Iterator[dg.MaterializeResult]:
        with said_plainly():
            _run(context, config, pipeline, interval)
        yield from ()

    return history_asset(
        name=asset_name(interval),
        description=DESCRIPTION.format(interval=interval, reach=_REACH[str(interval)]),
        table="hl.candles",
        described=CANDLE_COLUMNS,
        body=body,
    )


def asset_name(interval: Interval) -> str:
    """``candles_1m`` for 1m."""
    return f"candles_{interval}"


def _run(context: dg.AssetExecutionContext, config: CandleWindow, pipeline: Pipeline, interval: Interval) -> None:
    chosen = Chosen(context)
    window = config.within(chosen.months)
    forecast = _forecast(context, pipeline, interval, chosen, window)
    gone = _announce(context, forecast, chosen)
    with watched(context, pipeline, "backfill", Progress(forecast.asked, context.log.info)) as watch:
        report = backfill(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.backfill_policy,
            coins=chosen.coins,
            intervals=[interval],
            window=window,
            run_id=context.run.run_id,
            on_progress=watch.advance,
        )
    if report.superseded:
        context.log.warning("%d answers were refused: another run works on these months now", report.superseded)
    for failure in report.failures:
        context.log.warning("%s", failure)
    outcome = {**_outcome(forecast, report), **watch.metadata()}
    context.log_event(
        dg.AssetObservation(context.asset_key, description="forecast and actual of this run", metadata=outcome)
    )
    holes = _record(context, pipeline, interval, chosen, gone)
    if holes:
        raise dg.Failure(_told(holes, report), metadata=outcome, allow_retries=False)


def _forecast(
    context: dg.AssetExecutionContext, pipeline: Pipeline, interval: Interval, chosen: Chosen, window: Span
) -> BackfillForecast:
    """What this step will ask, once the whole run is found to be within the ceiling."""
    in_run = [
        other
        for other in Interval
        if dg.AssetKey(asset_name(other)) in context.job_def.asset_layer.executable_asset_keys
    ]
    with pipeline.database.connection() as connection:
        pipeline.forecast(connection, coins=chosen.coins, intervals=in_run, window=window).refuse_over(
            pipeline.backfill_ceiling
        )
        return pipeline.forecast(connection, coins=chosen.coins, intervals=[interval], window=window)


def _announce(context: dg.AssetExecutionContext, forecast: BackfillForecast, chosen: Chosen) -> set[str]:
    """Say before anything is asked what it costs and what cannot be had; the keys of the latter."""
    asked = forecast.asked
    if asked.calls:
        context.log.info(
            "to ask: %s requests, %s weight, about %s rows, %.1f MB; about %.1f min beside live collection",
            f"{asked.calls:,}",
            f"{asked.weight:,}",
            f"{asked.rows:,}",
            forecast.bytes_stored / 1e6,
            forecast.minutes[1],
        )
    else:
        context.log.info("nothing to ask for: what is due and can still be had is settled")
    gone = {
        key: month.story
        for month in asked.nothing_to_have
        if (key := chosen.keys.get((month.key.coin, month.month.start_ms))) is not None
    }
    for key, story in gone.items():
        history.leave_open(context, key, story)
    if gone:
        context.log.warning(
            "%d of %d chosen months cannot be had, and no run can help. Dagster counts them as failed in the back-fill "
            "and as missing in the partitions; the others go on",
            len(gone),
            len(chosen.keys),
        )
    return set(gone)


def _outcome(forecast: BackfillForecast, report: FillReport) -> dict[str, dg.MetadataValue | int]:
    """Forecast and actual, side by side."""
    found = compared(forecast.asked, report)
    return {
        "forecast and actual": table(
            [
                {"": m.what, "forecast": m.forecast, "actual": m.actual, "off %": str(m.off_percent or 0.0)}
                for m in found
            ]
        ),
        **{f"{m.what} forecast": m.forecast for m in found},
        **{f"{m.what} actual": m.actual for m in found},
        "requests failed": len(report.failures),
        "candles new": report.inserted,
        "revisions": report.revised,
        "months that cannot be had": len(forecast.asked.nothing_to_have),
    }


def _record(
    context: dg.AssetExecutionContext, pipeline: Pipeline, interval: Interval, chosen: Chosen, gone: set[str]
) -> list[PartitionState]:
    """Materialize each chosen month that is whole, and say of the others why not; returns those with holes.

    ``gone`` have been spoken of already.
    """
    with pipeline.database.connection() as connection:
        found = partitions.states(
            connection,
            interval,
            coins=chosen.coins,
            month_starts_ms=[month.start_ms for month in chosen.months],
            now_ms=pipeline.clock.now_ms(),
            settle_ms=pipeline.policy.proof.settle_ms,
        )

        def event(key: dg.AssetKey, state: PartitionState) -> dg.AssetMaterialization:
            return materialization(key, state, _drawn(connection, pipeline, interval, state))

        holes = history.record_months(context, chosen, found, event, gone)
        recorded = {(state.coin, state.month_ms) for state in found if state.is_whole} & chosen.keys.keys()
        for judged in evaluations(connection, context.asset_key, interval, recorded, pipeline.clock.now_ms()):
            context.log_event(judged)
        return holes


def _drawn(
    connection: Connection, pipeline: Pipeline, interval: Interval, state: PartitionState
) -> dict[str, dg.MetadataValue]:
    month = month_span(partition_key(state).keys_by_dimension["month"])
    return pictures(connection, pipeline, SeriesKey(state.coin, interval), month)


def materialization(
    asset_key: dg.AssetKey, state: PartitionState, drawn: Mapping[str, dg.MetadataValue] | None = None
) -> dg.AssetMaterialization:
    """The event that says a market's month of candles is whole, with what it holds."""
    reachable = state.due - state.lost
    return history.materialization(
        asset_key,
        state,
        {
            "coverage %": round(100 * (state.final + state.empty) / reachable, 4) if reachable else 100.0,
            "slots due": state.due,
            "final": state.final,
            "proven empty": state.empty,
            "lost": state.lost,
            "revisions": state.revisions,
            **(drawn or {}),
        },
    )


def _told(holes: Sequence[PartitionState], report: FillReport) -> str:
    return history.with_holes(
        holes,
        f" First failure: {report.failures[0]}." if report.failures else "",
        "Run the failed ones again: an absence is proven by asking twice, 30 minutes apart",
    )
