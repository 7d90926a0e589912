"""``hl health``: the report, without Dagster, fast enough for a probe."""

from __future__ import annotations

import click
from rich.text import Text

from hl_pipeline.cli.screen import age, console, print_json, table
from hl_pipeline.examine import DEADLINE_S, examine
from hl_pipeline.health.report import Report, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.settings import Settings

EXIT_CANNOT_TELL = 2
EXIT_CODES = {Status.HEALTHY: 0, Status.DEGRADED: 0, Status.UNHEALTHY: 1, Status.UNKNOWN: EXIT_CANNOT_TELL}
_COLOURS = {Status.HEALTHY: "green", Status.DEGRADED: "yellow", Status.UNHEALTHY: "red", Status.UNKNOWN: "magenta"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--within",
    type=click.FloatRange(0.1, 600),
    default=DEADLINE_S,
    show_default=True,
    help="Seconds the report may take; what has not answered by then could not be measured.",
)
@click.option("--alert", is_flag=True, help="Tell the channels of HL_ALERT_URLS when nobody else can.")
@click.pass_context
def health(ctx: click.Context, as_json: bool, within: float, alert: bool) -> None:
    """Is the pipeline well?

    Exit 0 when healthy or degraded, 1 when unhealthy, 2 when nobody can
    tell: no database, another schema, wrong settings. The report is there
    in each case and in time: it says what could not be measured.

    With --alert, for a timer outside Dagster: when this was so at two looks
    in a row, or nobody judged the alert rules for five minutes, the channels
    are told, again every hour, and once when it is over. Exit 2, too, when
    no channel took it.
    """
    try:
        found = examine(Settings.load(), deadline_s=within)
    except InvalidSetting as error:
        found = _nothing_set(error)
    if as_json:
        print_json(to_json(found))
    else:
        _show(found)
    if found.status is Status.UNKNOWN:
        click.echo(f"hl: {found.reason}", err=True)
    if alert and not _speak(found):
        ctx.exit(EXIT_CANNOT_TELL)
    ctx.exit(EXIT_CODES[found.status])


def _nothing_set(error: InvalidSetting) -> Report:
    """What there is to say when not even the settings can be read."""
    return Report(SystemClock().now_ms(), Status.UNKNOWN, 0, "critical", {}, [], [], reason=str(error))


def _speak(found: Report) -> bool:
    from hl_pipeline.cli.dead_man import speak  # here, because a probe without --alert needs none of it

    return speak(found)


def _show(found: Report) -> None:
    screen = console()
    colour = _COLOURS[found.status]
    screen.print(f"[bold {colour}]{found.status}[/bold {colour}], score {found.score} of 100 ({found.band})\n")
    rows = [
        (Text(str(verdict.status), _COLOURS[verdict.status]), verdict.name, verdict.sentence)
        for verdict in found.verdicts
    ]
    screen.print(table([("status", "left"), ("check", "left"), ("found", "left")], rows))
    about = found.about
    if about:
        screen.print(
            f"\nhl_pipeline {about.get('version')}, this process holds {about.get('memory_mb')} MB; "
            f"measured in {about.get('took_ms')} ms; {_span(about.get('watched_s'))}."
        )
    if found.excluded:
        screen.print(f"\nNot measured here: {', '.join(found.excluded)}.")


def _span(seconds: float | int | str | None) -> str:
    since = f"kept for {age(round(1000 * seconds))}" if isinstance(seconds, int | float) else "not kept yet"
    return f"health reports are {since}"
