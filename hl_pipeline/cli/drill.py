"""``hl drill``: rehearse the loss of an endpoint, where nothing can be lost."""

from __future__ import annotations

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.settings import Settings

_COLUMNS = [("step", "left"), ("held", "left"), ("seen", "left"), ("market min", "right"), ("s", "right")]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def drill(as_json: bool) -> None:
    """Rehearse the loss of an endpoint on a local exchange.

    The first of two endpoints fails, collection goes on through the second,
    the first heals and takes the load back, nothing is lost. Asks the real
    exchange nothing and touches no table of yours. Exit 2 when a step did not
    hold.
    """
    from hl_pipeline.drill import drill as play  # here, because the sandbox and its server take a while to import

    settings = Settings.load()
    report = play(settings.drill_folder, SystemClock(settings.clock_offset_ms))
    if as_json:
        print_json({"held": report.held, "outcome": report.sentence, "steps": [s._asdict() for s in report.steps]})
    else:
        rows = [(s.name, "yes" if s.held else "NO", s.seen, s.market_minutes, s.seconds) for s in report.steps]
        console().print(table(_COLUMNS, rows))
    if not report.held:
        raise NeedsAPerson(report.sentence)
