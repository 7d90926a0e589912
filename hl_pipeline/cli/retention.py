"""``hl retention``: what is older than its bound; drop it; load an exported month again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hl_pipeline.cli.screen import age, console, print_json, table
from hl_pipeline.cli.stopping import stopping
from hl_pipeline.collect import retention as engine
from hl_pipeline.collect.retention import RetentionReport, Survey
from hl_pipeline.model.halt import Halted
from hl_pipeline.model.interval import Interval, to_datetime, to_ms
from hl_pipeline.model.month import months_in
from hl_pipeline.model.retention import DAY_MS, FOREVER, Bounds, Kind
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.retention import DueRows

if TYPE_CHECKING:
    from hl_pipeline.defs.live_runs import LiveRuns
    from hl_pipeline.defs.run_records import DueRuns

_RUNS = "Dagster's live runs"
_COLUMNS = [
    ("what", "left"), ("rows", "right"), ("MB", "right"), ("oldest (UTC)", "left"), ("kept for", "left"),
    ("what happens", "left"),
]  # fmt: skip
_EXPORT = "exported, read back, dropped"
_DROP = "dropped"
_WAIT = "waits: somebody works on the month"


class Month(click.ParamType):
    """A calendar month, UTC."""

    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """``2026-01`` as its span."""
        try:
            start_ms = to_ms(datetime.strptime(f"{value}-01+0000", "%Y-%m-%d%z"))
            return months_in(Span(start_ms, start_ms + 1))[0]
        except ValueError:
            self.fail(f"{value!r} is no month: write it like 2026-01", param, ctx)


@click.group(invoke_without_command=True)
@click.option("--apply", "applies", is_flag=True, help="Do it; without this it only says what is due.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
@click.pass_context
def retention(ctx: click.Context, applies: bool, as_json: bool) -> None:
    """What is older than its bound (HL_RETENTION_*): rows, bytes, the oldest.

    Without --apply nothing is changed. A month of candles or quotes is dropped
    only after it was written to a file (HL_EXPORT_FOLDER) that was read back and
    holds what the table holds. Exit 1 when a month that is due had to stay.
    """
    if ctx.invoked_subcommand is not None:
        if applies or as_json:
            option = "--apply" if applies else "--json"
            raise click.UsageError(f"{option} does not go with {ctx.invoked_subcommand}: leave it out")
        return
    settings = Settings.load()
    with stopping() as signals, open_pipeline(settings, only_looks=True, halt=signals.halt) as pipeline:
        now_ms, bounds = pipeline.clock.now_ms(), settings.retention
        seen = engine.survey(pipeline.database, bounds, now_ms)
        with _live_runs(pipeline) as records:
            runs = None if records is None or bounds.runs_ms is None else records.due(bounds.runs_ms)
            try:
                report = _apply(pipeline, records, runs, now_ms) if applies else None
            except Halted:
                click.echo("hl: stopped; what is still due goes with the next run", err=True)
                ctx.exit(signals.exit_code)
    if as_json:
        print_json(_document(seen, runs, bounds, report))
    else:
        _show(seen, runs, bounds, report, settings)
    ctx.exit(1 if report is not None and report.kept else 0)


@retention.command()
@click.argument("month", type=Month())
@click.option("--interval", type=click.Choice([str(interval) for interval in Interval]), help="Only these candles.")
@click.option("--quotes", is_flag=True, help="The month's quotes instead of its candles.")
def restore(month: Span, interval: str | None, quotes: bool) -> None:
    """Load an exported month again, to the last digit; it stays for thirty days.

    The rows come from the files in HL_EXPORT_FOLDER, whose checksums must be
    those that the database knows. Rows that are there stay as they are.
    """
    if quotes and interval is not None:
        raise click.UsageError("quotes have no interval: leave out --interval, or --quotes")
    settings = Settings.load()
    with open_pipeline(settings, only_looks=True) as pipeline:
        found = engine.restore(
            pipeline.database,
            settings.exports,
            month,
            pipeline.clock.now_ms(),
            relation="market_context" if quotes else "candle",
            interval=None if interval is None else Interval(interval),
        )
    if not found:
        click.echo("Nothing to load: no file of that month is away (hl.export_file lists them).")
    for file, rows in found.items():
        click.echo(f"{file}: {rows:,} rows are back")


@contextmanager
def _live_runs(pipeline: Pipeline) -> Iterator[LiveRuns | None]:
    """Dagster's records; null where `hl up` or `hl env` never made a home for them."""
    if not (pipeline.settings.dagster_home / "dagster.yaml").is_file():
        yield None
        return
    from hl_pipeline.defs.live_runs import live_runs  # takes seconds, so only here

    with live_runs(pipeline.settings, pipeline.database) as found:
        yield found


def _apply(pipeline: Pipeline, records: LiveRuns | None, runs: DueRuns | None, now_ms: int) -> RetentionReport:
    settings, halt = pipeline.settings, pipeline.policy.halt
    report = engine.apply(pipeline.database, settings.retention, settings.exports, now_ms, halt=halt)
    if records is not None and runs is not None:
        report.count(_RUNS, records.drop(runs.run_ids, halt))
    return report


def _lines(seen: Survey, runs: DueRuns | None, bounds: Bounds) -> list[tuple[DueRows, int | None, str]]:
    """What is due, its bound, what would happen to it."""
    lines = [
        (
            DueRows(due.name, due.rows, due.bytes, due.oldest_ms),
            bounds.contexts_ms if due.interval is None else bounds.candles[due.interval],
            _WAIT if due.is_worked_on else _EXPORT,
        )
        for due in seen.months
    ]
    bound_of = {str(kind): bounds.of(kind) for kind in Kind}
    lines += [(due, bound_of[due.kind], _DROP) for due in seen.rows]
    due_runs = DueRows(_RUNS, 0, 0, None) if runs is None else DueRows(_RUNS, len(runs.run_ids), 0, runs.oldest_ms)
    lines.append((due_runs, bounds.runs_ms, _DROP))
    return lines


def _show(
    seen: Survey, runs: DueRuns | None, bounds: Bounds, report: RetentionReport | None, settings: Settings
) -> None:
    screen = console()
    rows = [
        (due.kind, due.rows, f"{due.bytes / 1e6:,.1f}" if due.bytes else "-", _day(due.oldest_ms), _bound(bound), then)
        if due.rows
        else (due.kind, 0, "-", "-", _bound(bound), "nothing is due")
        for due, bound, then in _lines(seen, runs, bounds)
    ]
    screen.print(table(_COLUMNS, rows))
    named = ", ".join(f"{interval} {_bound(bound)}" for interval, bound in bounds.candles.items())
    screen.print(f"\nCandles are kept for ever{f', but {named}' if named else ''}. Exports: {settings.exports}")
    screen.print("The ledger, revisions and fetches that something refers to are never dropped.")
    if report is None:
        screen.print("Nothing was changed: this was a dry run. `hl retention --apply` does it.")
        return
    for what, count in report.dropped.items():
        screen.print(f"dropped {count:,} rows: {what}", markup=False)
    for why in report.kept:
        screen.print(f"kept {why}", markup=False)
    if not report.dropped:
        screen.print("Nothing was dropped.")


def _document(seen: Survey, runs: DueRuns | None, bounds: Bounds, report: RetentionReport | None) -> dict[str, Any]:
    return {
        "now_ms": seen.now_ms,
        "dry_run": report is None,
        "due": [
            {**due._asdict(), "bound_days": None if bound is None else bound // DAY_MS, "what_happens": then}
            for due, bound, then in _lines(seen, runs, bounds)
        ],
        "fetches_judged": seen.fetches_judged,
        "report": None if report is None else asdict(report),
    }


def _day(at_ms: int | None) -> str:
    return "-" if at_ms is None else f"{to_datetime(at_ms):%Y-%m-%d}"


def _bound(bound_ms: int | None) -> str:
    return FOREVER if bound_ms is None else age(bound_ms)
