"""``hl start`` and ``hl stop``: schedules and sensors on and off without the web interface; they stay so."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from hl_pipeline.defs.automation import Switch

#: Without these nobody is told of anything by the daemon.
_VOICE = "deliver_alerts"


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document: every one and how it stands."),
        click.option("--list", "only_list", is_flag=True, help="Change nothing; show every one and how it stands."),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = decorate(command)
    return command


@click.command()
@_options
def start(names: tuple[str, ...], only_list: bool, as_json: bool) -> None:
    """Turn schedules and sensors on, all or the named ones.

    Works while `hl up` runs, and while it does not. They stay on until
    somebody turns them off.
    """
    _switch(names, running=True, only_list=only_list, as_json=as_json)


@click.command()
@_options
def stop(names: tuple[str, ...], only_list: bool, as_json: bool) -> None:
    """Turn schedules and sensors off, all or the named ones.

    What runs goes on to its end; nothing new is started. They stay off, over
    restarts of `hl up` too, until `hl start`. The live stream is no
    schedule: HL_STREAM=false does without.
    """
    _switch(names, running=False, only_list=only_list, as_json=as_json)


def _switch(names: tuple[str, ...], *, running: bool, only_list: bool, as_json: bool) -> None:
    from hl_pipeline.defs import launch

    settings = Settings.load()
    with open_database(settings) as database:
        _require_instance(database)
        os.environ.update(launch.environment(settings, database))
    changed = [] if only_list else launch.set_automation(running, names or None)
    found = launch.automation()
    if as_json:
        print_json([{**switch._asdict(), "changed": switch.name in changed} for switch in found])
        return
    if only_list:
        console().print(_listed(found))
        return
    click.echo(_told(changed, found, running=running))


def _require_instance(database: Database) -> None:
    """Say plainly that Dagster has no database yet; its own words would be a page of them."""
    try:
        with Database(database.dagster_url) as dagster, dagster.connection():
            return
    except DatabaseUnavailable as error:
        raise DatabaseUnavailable(f"{error}; the first `hl up` makes Dagster's database") from error


def _listed(found: list[Switch]) -> object:
    rows = [(switch.name, switch.kind, "on" if switch.running else "off", switch.when) for switch in found]
    return table([("name", "left"), ("kind", "left"), ("state", "left"), ("when", "left")], rows)


def _told(changed: list[str], found: list[Switch], *, running: bool) -> str:
    state, verb = ("on", "Turned on") if running else ("off", "Turned off")
    lines = [f"{verb}: {', '.join(changed)}." if changed else f"Nothing to do: they were {state} already."]
    off = [switch.name for switch in found if not switch.running]
    if off:
        lines.append(f"Off now: {', '.join(off)}.")
    if _VOICE in off:
        lines.append(f"While {_VOICE} is off nobody is told of anything, but by `hl health --alert` (deploy/).")
    return "\n".join(lines)
