"""``hl config check`` shows the settings in force; ``hl env`` prints them for a shell that starts Dagster itself."""

from __future__ import annotations

import shlex

import click

from hl_pipeline.cli.ground import as_environment
from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import PREFIX, PROFILED, Settings


@click.group()
def config() -> None:
    """Look at the settings, and judge them."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document; secrets are masked.")
def check(as_json: bool) -> None:
    """Judge every HL_* variable, and list what is in force.

    Behind each value stands whether you set it, or the profile did. Nothing
    is started and nobody is asked. Exit 2 names every variable that is wrong.
    """
    settings = Settings.load()
    shown = {PREFIX + name.upper(): _text(value) for name, value in settings}
    if as_json:
        print_json(shown)
        return
    rows = [(name, value, _said_by(settings, name.removeprefix(PREFIX).lower())) for name, value in shown.items()]
    console().print(table([("variable", "left"), ("value", "left"), ("", "left")], rows))
    console().print("The settings are good.")


@click.command()
def env() -> None:
    """Print exports with which plain `dagster dev` and `dg dev` work.

    Use it as: eval "$(hl env)" && dagster dev -w workspace.yaml. The
    database must be running (`hl db start`). The output holds a password.
    """
    settings = Settings.load()
    from hl_pipeline.defs.launch import environment

    with open_database(settings) as database:
        exports = as_environment(settings) | environment(settings, database)
    for name, value in exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _said_by(settings: Settings, name: str) -> str:
    if name in PROFILED:
        return "set" if settings.is_set(name) else f"profile {settings.profile}"
    return "" if _text(getattr(settings, name)) == _text(getattr(Settings(), name)) else "set"


def _text(value: object) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
