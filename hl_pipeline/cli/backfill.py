"""``hl backfill``: complete chosen months of chosen markets, with a forecast before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from hl_pipeline.cli.backfill_screen import (
    as_document,
    done_document,
    show_done,
    show_forecast,
    show_interrupted,
    show_refusal,
)
from hl_pipeline.cli.fill_bar import fill_bar
from hl_pipeline.cli.options import instant_ms
from hl_pipeline.cli.screen import console, print_json
from hl_pipeline.cli.stopping import stopping
from hl_pipeline.collect.backfill import backfill as collect_backfill
from hl_pipeline.collect.fill import FillReport
from hl_pipeline.collect.forecast import BackfillForecast, unsettled_span
from hl_pipeline.collect.progress import Progress
from hl_pipeline.model.halt import Halted
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import series

ALL = "all"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which series, and which span of them (ms UTC, half-open); ``incomplete``: what is whole is of no interest."""

    coins: tuple[str, ...]
    intervals: tuple[Interval, ...]
    window: Span
    incomplete: bool = False


class _Day(click.ParamType):
    """A day or an instant, UTC unless it says otherwise."""

    name = "DAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return instant_ms(str(value))
        except ValueError:
            self.fail(f"{value!r} must be a day or an instant: 2026-08-01, 2026-08-01T12:00", param, ctx)


@click.command()
@click.option("--market", "coins", multiple=True, help="One market; again for more. All tracked ones by default.")
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    type=click.Choice([*map(str, Interval), ALL]),
    help="One interval; again for more. All that are collected by default.",
)
@click.option("--from", "start_ms", type=_Day(), help="First day, UTC.")
@click.option("--to", "end_ms", type=_Day(), help="Day after the last, UTC; now by default.")
@click.option("--incomplete", is_flag=True, help="Only what earlier runs left: everything unsettled, however old.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and what can be had; ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
@click.pass_context
def backfill(
    ctx: click.Context,
    coins: tuple[str, ...],
    intervals: tuple[str, ...],
    start_ms: int | None,
    end_ms: int | None,
    incomplete: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Complete chosen months of chosen markets.

    Says first what it will ask, and asks only for what is missing, in the
    back-fill lane: live collection goes before. Interrupted or killed, run
    it again; nothing that was stored is asked for twice. Refused when it
    would need more than HL_BACKFILL_MAX_WEIGHT or HL_BACKFILL_MAX_MINUTES.
    Exit 1 when some months stay incomplete.

    \b
      hl backfill --market BTC --interval 1h --from 2026-08-01 --to 2026-11-01 --dry-run
      hl backfill --incomplete
    """
    settings = Settings.load()
    with stopping() as signals, open_pipeline(settings, only_looks=dry_run, halt=signals.halt) as pipeline:
        # the newest slot that is settled; what closes meanwhile is the live edge's affair
        now_ms = Interval.M1.floor(pipeline.clock.now_ms() - pipeline.policy.proof.settle_ms)
        if not dry_run:
            _learn_markets(pipeline)
        chosen = _chosen(pipeline, coins, intervals, incomplete, start_ms, end_ms, now_ms)
        if chosen is None:
            _nothing(as_json)
            return
        forecast = _forecast(pipeline, chosen)
        if dry_run:
            _tell(pipeline, forecast, chosen, as_json)
            return
        forecast.refuse_over(pipeline.backfill_ceiling)
        if not as_json:
            show_forecast(console(), forecast, chosen.window, only_wanted=chosen.incomplete)
        try:
            report = _run(pipeline, chosen, forecast, quiet=as_json)
        except Halted:
            show_interrupted(_forecast(pipeline, chosen))
            ctx.exit(signals.exit_code)
        left = _forecast(pipeline, chosen)
    if as_json:
        print_json(done_document(forecast, report, left))
    else:
        show_done(console(), forecast, report, left)
    ctx.exit(0 if report.is_whole else 1)


def _run(pipeline: Pipeline, chosen: Chosen, forecast: BackfillForecast, *, quiet: bool) -> FillReport:
    """Fill; a signal lets the requests under way land.

    Raises:
        Halted: one came.
    """
    told = Progress(forecast.asked, lambda _: None)
    with fill_bar("back-fill", told.sentence, quiet=quiet) as advance:
        return collect_backfill(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.backfill_policy,
            coins=chosen.coins,
            intervals=chosen.intervals,
            window=chosen.window,
            on_progress=advance,
        )


def _chosen(
    pipeline: Pipeline,
    coins: tuple[str, ...],
    intervals: tuple[str, ...],
    incomplete: bool,
    start_ms: int | None,
    end_ms: int | None,
    now_ms: int,
) -> Chosen | None:
    """What the options name; null when ``--incomplete`` finds nothing.

    Raises:
        click.UsageError: they contradict each other, or name what is not collected.
    """
    taken = pipeline.settings.intervals
    wanted = taken if not intervals or ALL in intervals else tuple(map(Interval, intervals))
    if strange := [str(interval) for interval in wanted if interval not in taken]:
        raise click.UsageError(f"{', '.join(strange)} is not collected; HL_INTERVALS has {','.join(map(str, taken))}")
    with pipeline.database.connection() as connection:
        states = series.load(connection, intervals=wanted)
    tracked = tuple(dict.fromkeys([state.key.coin for state in states] or pipeline.settings.markets))
    if unknown := sorted(set(coins) - set(tracked)):
        raise click.UsageError(f"{', '.join(unknown)} is not tracked; there are {', '.join(tracked)} (see HL_MARKETS)")
    if incomplete:
        span = unsettled_span([state for state in states if not coins or state.key.coin in coins], now_ms)
        if span is None:
            return None
        start_ms = span.start_ms if start_ms is None else start_ms
    if start_ms is None:
        raise click.UsageError("--from is missing: name the first day, or --incomplete for what earlier runs left")
    window = Span(start_ms, min(end_ms or now_ms, now_ms))
    if window.length_ms <= 0:
        raise click.UsageError("--from must lie before --to and before now")
    return Chosen(coins or tracked, wanted, window, incomplete)


def _learn_markets(pipeline: Pipeline) -> None:
    """A database that tracks nothing yet learns its markets first."""
    with pipeline.database.connection() as connection:
        known = series.load(connection)
    if not known:
        pipeline.refresh_markets()


def _forecast(pipeline: Pipeline, chosen: Chosen) -> BackfillForecast:
    with pipeline.database.connection() as connection:
        return pipeline.forecast(connection, coins=chosen.coins, intervals=chosen.intervals, window=chosen.window)


def _tell(pipeline: Pipeline, forecast: BackfillForecast, chosen: Chosen, as_json: bool) -> None:
    """A dry run's end."""
    if as_json:
        print_json(as_document(forecast))
        return
    screen = console()
    show_forecast(screen, forecast, chosen.window, only_wanted=chosen.incomplete)
    if not show_refusal(screen, forecast, pipeline.backfill_ceiling) and forecast.asked.calls:
        screen.print("Nothing was asked. Run it without --dry-run to do it.")


def _nothing(as_json: bool) -> None:
    """``--incomplete`` found nothing to do."""
    if as_json:
        print_json({"incomplete": 0})
    else:
        console().print("Nothing is incomplete: every slot that is due and can be had is settled.")
