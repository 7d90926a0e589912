"""``hl report``: the status report as one HTML file, without Dagster."""

from __future__ import annotations

from pathlib import Path

import click

from hl_pipeline.collect.status_page import Frame, gather_page, write_page
from hl_pipeline.examine import examine
from hl_pipeline.health.report import to_json
from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.model.status_page import REPORT_FILE
from hl_pipeline.runtime import budget_weight, open_pipeline
from hl_pipeline.settings import Settings


@click.command()
@click.argument("path", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--open", "and_open", is_flag=True, help="Show it in the browser.")
def report(path: Path | None, and_open: bool) -> None:
    """Write the status report: one HTML page that needs nothing else.

    To PATH, or to where the asset pipeline_report writes it each minute: the
    venue's folder in HL_HOME. The web interface serves that one at /report.
    """
    settings = Settings.load()
    target = (path or settings.venue_home / REPORT_FILE).absolute()
    health = to_json(examine(settings))
    with open_pipeline(settings, only_looks=True) as pipeline:
        frame = Frame(
            venue=settings.venue,
            now_ms=pipeline.clock.now_ms(),
            period_ms=pipeline.period_ms,
            settle_ms=pipeline.policy.proof.settle_ms,
            budget=budget_weight(settings),
        )
        with pipeline.database.connection() as connection:
            page = gather_page(connection, frame, health)
    try:
        size = write_page(page, target)
    except OSError as error:
        raise NeedsAPerson(f"{target} cannot be written ({error.strerror}): name another PATH") from error
    click.echo(f"{target}: {health['status']}, {size:,} bytes")
    if and_open:
        click.launch(target.as_uri())
