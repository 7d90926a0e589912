"""``hl health``: the report, without Dagster, fast enough for a probe."""

from __future__ import annotations

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.health.report import Report, report, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.health import gather

EXIT_UNHEALTHY = 1
EXIT_CANNOT_TELL = 2
_COLOURS = {Status.HEALTHY: "green", Status.DEGRADED: "yellow", Status.UNHEALTHY: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--alert", is_flag=True, help="Tell the channels of HL_ALERT_URLS when nobody else can.")
@click.pass_context
def health(ctx: click.Context, as_json: bool, alert: bool) -> None:
    """Is the pipeline well?

    Exit 0 when healthy or degraded, 1 when unhealthy, 2 when nobody can
    tell: no database, another schema, wrong settings.

    With --alert, for a timer outside Dagster: when this was so at two looks
    in a row, or nobody judged the alert rules for five minutes, the channels
    are told, again every hour, and once when it is over. Exit 2, too, when
    no channel took it.
    """
    try:
        found = examine(Settings.load())
    except PipelineError as error:
        if as_json:
            print_json({"status": "unknown", "reason": str(error)})
        click.echo(f"hl: {error}", err=True)
        if alert:
            _speak(None, error)
        ctx.exit(EXIT_CANNOT_TELL)
    if as_json:
        print_json(to_json(found))
    else:
        _show(found)
    if alert and not _speak(found, None):
        ctx.exit(EXIT_CANNOT_TELL)
    ctx.exit(EXIT_UNHEALTHY if found.status is Status.UNHEALTHY else 0)


def examine(settings: Settings) -> Report:
    """Measure and judge.

    Raises:
        PipelineError: the database does not answer, or is not of this version.
    """
    with open_pipeline(settings, only_looks=True) as pipeline, pipeline.database.connection() as connection:
        settle_s = pipeline.policy.proof.settle_ms / 1000
        now_ms, period_s = pipeline.clock.now_ms(), pipeline.period_ms / 1000
        return report(gather(connection, now_ms, period_s, settle_s, expects_stream=settings.stream))


def _speak(found: Report | None, error: PipelineError | None) -> bool:
    from hl_pipeline.cli.dead_man import speak  # here, because a probe without --alert needs none of it

    return speak(found, error)


def _show(found: Report) -> None:
    screen = console()
    colour = _COLOURS[found.status]
    screen.print(f"[bold {colour}]{found.status}[/bold {colour}], score {found.score} of 100 ({found.band})\n")
    rows = [
        (f"[{_COLOURS[verdict.status]}]{verdict.status}[/]", verdict.name, verdict.sentence)
        for verdict in found.verdicts
    ]
    screen.print(table([("status", "left"), ("check", "left"), ("found", "left")], rows))
    if found.excluded:
        screen.print(f"\nNot measured here: {', '.join(found.excluded)}.")
