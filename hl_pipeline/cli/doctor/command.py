"""The command: look at everything, print a line each, say by the exit code whether something fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click
from rich.text import Text

from hl_pipeline.cli.doctor import machine
from hl_pipeline.cli.doctor.database import on_database
from hl_pipeline.cli.doctor.exchange import on_exchange
from hl_pipeline.cli.doctor.finding import Finding, Level, fail, looked
from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.redact import redact
from hl_pipeline.settings import Settings

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Look at all that a new machine or a broken installation gets wrong.

    Python, packages, settings, folders, disk, ports, the exchange and the
    clock, both databases, runs, the daemon, who is told. Each line is ok,
    warn or fail, with the next step. It changes nothing. Exit 1 when a line
    fails, else 0.
    """
    found = [line._replace(text=redact(line.text)) for line in examine()]
    if as_json:
        print_json({"ok": _is_well(found), "findings": [line._asdict() for line in found]})
    else:
        _show(found)
    ctx.exit(0 if _is_well(found) else 1)


def examine() -> list[Finding]:
    """Everything, in the order in which things depend on each other; without settings only the machine."""
    found = [machine.on_python(), *looked("packages", lambda: [machine.on_packages(machine.lock_file())])]
    try:
        settings = Settings.load()
    except InvalidSetting as error:
        step = "mend what the line names; `hl config check` lists all variables"
        return [*found, *(fail("settings", line, step) for line in str(error).splitlines())]
    looks: list[tuple[str, Callable[[Settings], list[Finding]]]] = [
        ("settings", machine.on_settings),
        ("home", machine.on_folders),
        ("embedded postgres", machine.on_postgres_programs),
        ("ports", machine.on_ports),
        ("exchange", on_exchange),
        ("database", on_database),
    ]
    for name, look in looks:
        found += looked(name, partial(look, settings))
    return found


def _is_well(found: list[Finding]) -> bool:
    return all(line.level is not Level.FAIL for line in found)


def _show(found: list[Finding]) -> None:
    screen = console()
    rows = []
    for line in found:
        next_step = f"\nNext: {line.step}" if line.step else ""
        rows.append((Text(str(line.level), _COLOURS[line.level]), line.name, line.text + next_step))
    screen.print(table([("", "left"), ("looked at", "left"), ("found", "left")], rows))
    counts = {level: sum(line.level is level for line in found) for level in Level}
    screen.print(f"\n{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} that fail.")
