"""``hl collect``: refresh the markets and fill every slot that is due, once, without Dagster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import click

from hl_pipeline.cli.fill_bar import fill_bar
from hl_pipeline.cli.options import Names, instant_ms, judged_intervals, require_tracked
from hl_pipeline.cli.screen import console, print_json
from hl_pipeline.cli.stopping import stopping
from hl_pipeline.collect.fill import FillReport, fill
from hl_pipeline.collect.markets import MarketsReport
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; null is everything."""

    coins: tuple[str, ...] | None
    intervals: tuple[Interval, ...] | None
    window: Span | None
    again: bool


class _Window(click.ParamType):
    """``START..END``: two instants, half-open, UTC unless they say otherwise."""

    name = "START..END"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        try:
            start, end = (instant_ms(part) for part in value.split("..", 1))
        except ValueError:
            start = end = 0
        if start >= end:
            self.fail(f"{value!r} must be two instants, the first earlier: 2026-11-01..2026-11-02T12:00", param, ctx)
        return Span(start, end)


@click.command()
@click.option("--coins", type=Names(), help="Only these; all tracked markets by default.")
@click.option("--intervals", type=Names(), help="Only these of 1m,5m,15m,1h,4h,1d.")
@click.option("--window", type=_Window(), help="Ask now for all that is unsettled in it, even what waits its turn.")
@click.option("--again", is_flag=True, help="With --window: read there again what is settled, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
@click.pass_context
def collect(
    ctx: click.Context,
    coins: tuple[str, ...] | None,
    intervals: tuple[str, ...] | None,
    window: Span | None,
    again: bool,
    as_json: bool,
) -> None:
    """Fill every slot that is due, once, without Dagster.

    Safe to run beside the schedules, to kill and to run again: what is
    settled is not asked for twice, unless --again says so. Exit 1 when some
    series could not be read; the rest is stored.
    """
    settings = Settings.load()
    if again and window is None:
        raise click.UsageError("--again reads settled slots again: name with --window which")
    wanted = Wanted(coins, judged_intervals(settings, coins, intervals), window, again)
    with stopping() as signals, open_pipeline(settings, halt=signals.halt) as pipeline:
        markets, report = run(pipeline, wanted, quiet=as_json)
    if as_json:
        print_json(_document(markets, report))
    else:
        _show(markets, report)
    ctx.exit(0 if report.is_whole else 1)


def run(pipeline: Pipeline, wanted: Wanted, *, quiet: bool) -> tuple[MarketsReport, FillReport]:
    """Refresh the markets, then fill; a progress bar unless ``quiet``."""
    markets = pipeline.refresh_markets()
    require_tracked(pipeline.settings, wanted.coins, markets.tracked)
    with fill_bar("candles", lambda report: f"{report.received:,} candles", quiet=quiet) as advance:
        report = fill(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.policy,
            coins=wanted.coins,
            intervals=wanted.intervals,
            window=wanted.window,
            again=wanted.again,
            on_progress=advance,
        )
    return markets, report


def _document(markets: MarketsReport, report: FillReport) -> dict[str, Any]:
    return {
        **asdict(report),
        "weight": report.weight + markets.weight,
        "coins_failed": sorted(report.coins_failed),
        "markets_tracked": len(markets.tracked),
        "unknown_coins": markets.unknown,
    }


def _show(markets: MarketsReport, report: FillReport) -> None:
    screen = console()
    for coin in markets.unknown:
        screen.print(
            f"The exchange has no market {coin}: take it out of HL_MARKETS, or correct its name.", markup=False
        )
    if not report.planned:
        screen.print(f"Nothing is due: every slot is settled or waits its turn. Weight spent: {markets.weight:,}.")
        return
    screen.print(
        f"{report.landed} of {report.planned} requests answered: {report.received:,} candles received, "
        f"{report.inserted:,} new, {report.updated:,} brought up to date, {report.revised:,} revised, "
        f"{report.rejected:,} rejected."
    )
    screen.print(
        f"{report.settled_final:,} slots became final, {report.settled_empty:,} proven empty, {report.lost:,} lost; "
        f"{report.derived:,} more were settled by their minutes. "
        f"Weight spent: {report.weight + markets.weight:,}."
    )
    if report.skipped:
        screen.print("The minute's request weight ran out: run `hl collect` again for the rest.")
    if report.superseded:
        screen.print(f"{report.superseded} answers were refused: another run works on the same now, its answers count.")
    for failure in report.failures:
        screen.print(f"not read: {failure}", markup=False)
