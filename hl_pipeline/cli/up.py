"""``hl up``: everything at once, until Ctrl-C: Postgres, schema, code server, daemon, web interface, schedules on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence

import click

from hl_pipeline.cli.ground import Ground, as_environment, prepared
from hl_pipeline.cli.prepare import prepare_elsewhere
from hl_pipeline.cli.screen import console
from hl_pipeline.cli.station import Station, open_station, require_ui_port
from hl_pipeline.cli.supervisor import Program, Stop
from hl_pipeline.model.failure import ExchangeUnavailable, NeedsAPerson, TryAgain
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings

Say = Callable[[str], None]
_PATIENCE_SECONDS = 9.0
_UNIVERSES = {
    Universe.LIST: "",
    Universe.TOP50: "the 50 largest by volume, and ",
    Universe.TOP100: "the 100 largest by volume, and ",
    Universe.ALL: "every listed perpetual, and ",
}
_NEXT_STEPS = {
    "live": "Try again when it can be reached from here",
    "testnet": "Try again when it can be reached from here",
    "sandbox": "Start it with `hl sandbox`",
}


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web interface; HL_UI_PORT or 3000 by default.")
@click.option(
    "--viewer-port",
    type=click.IntRange(1, 65535),
    help="Port of a second, read-only web interface; HL_VIEWER_PORT or none by default.",
)
def up(port: int | None, viewer_port: int | None) -> None:
    """Run everything: Postgres, schedules and the Dagster UI, until Ctrl-C.

    Collects from the exchange that HL_VENUE names, the live one by default.
    When it cannot be reached nothing is started: exit 1. A second Ctrl-C
    stops at once.
    """
    settings = Settings.load(
        {
            **os.environ,
            **({"HL_UI_PORT": str(port)} if port is not None else {}),
            **({"HL_VIEWER_PORT": str(viewer_port)} if viewer_port is not None else {}),
        }
    )
    say = console().print
    require_ui_port(settings)
    with Stop().listening() as stop:
        say(f"Starting on the {settings.venue} exchange ({settings.endpoint}) ...")
        with prepared(settings) as ground:
            probe(settings, ground)
            if not stop.wanted:
                keep_running(ground, stop, say)


def probe(settings: Settings, ground: Ground) -> None:
    """Ask the exchange for one cheap thing.

    Raises:
        ExchangeUnavailable: it does not answer; there is no silent switch to anything else.
    """
    try:
        with open_pipeline(settings, database=ground.database) as pipeline:
            pipeline.source.exchange_time_ms()
    except TryAgain as error:
        raise ExchangeUnavailable(
            f"the {settings.venue} exchange at {settings.endpoint} does not answer ({error}); nothing was started. "
            f"{_NEXT_STEPS[settings.venue]}, or run `make demo` to see the pipeline on a local exchange of its own"
        ) from error


def keep_running(ground: Ground, stop: Stop, say: Say, company: Sequence[Program] = ()) -> None:
    """Start Dagster's processes, say where they are, and tend them and Postgres until somebody wants us to stop.

    ``company`` is started before them and stopped with them.
    """
    settings = ground.settings
    # an empty value is none: what this process may do to the schema is nothing to its children
    environ = {**as_environment(ground.settings_of_children), "HL_MIGRATE_URL": ""}
    environ |= prepare_elsewhere(environ)
    station = open_station(settings, environ, stop, say, company, on_lost_runs=lambda: _end_lost_runs(environ, say))
    try:
        if not stop.wanted:
            say(_block(ground, station))
        station.supervisor.run(lambda: _tend(ground, say))
    finally:
        say("\nStopping ...")
        station.supervisor.shut_down(_PATIENCE_SECONDS)


def _end_lost_runs(environ: Mapping[str, str], say: Say) -> None:
    """What a fallen code server had started is over; Dagster would wait an hour for it, and its lane with it."""
    try:
        prepare_elsewhere(environ)
    except NeedsAPerson as error:
        say(f"Runs that ended with the code server may look as if they went on for up to an hour: {error}")


def _tend(ground: Ground, say: Say) -> None:
    try:
        if ground.tend():
            say("Postgres had ended; it runs again.")
    except TryAgain as error:
        say(f"Postgres is not back yet: {error}")


def _block(ground: Ground, station: Station) -> str:
    settings = ground.settings
    return "\n".join(
        (
            "",
            f"  Dagster UI   {station.ui_url}{' (asks for HL_UI_PASSWORD)' if settings.ui_password else ''}",
            *([f"  To look at   {station.viewer_url}, read-only"] if station.viewer_url else []),
            f"  Exchange     {settings.venue} ({settings.endpoint})",
            f"  Markets      {_UNIVERSES[settings.universe]}{', '.join(settings.markets)}",
            f"  Database     {ground.database.address}, in {settings.venue_home}"
            if ground.server
            else f"  Database     {ground.database.address}",
            f"  Logs         {settings.venue_home / 'log'}",
            f"  Stream       {'on: hl stream, kept running' if settings.stream else 'off (HL_STREAM=false)'}",
            *([f"  Commands     {_as_here(settings)} hl status"] if settings.venue == "sandbox" else []),
            "  Schedules and sensors are on, but for those you turned off (hl start --list). Ctrl-C stops everything.",
            "",
        )
    )


def _as_here(settings: Settings) -> str:
    """The variables with which a command in another terminal speaks of the same sandbox."""
    variables = {
        "HL_VENUE": str(settings.venue),
        "HL_HOME": str(settings.home),
        "HL_ENDPOINT": settings.endpoint,
        "HL_UNIVERSE": str(settings.universe),
        "HL_MARKETS": ",".join(settings.markets),
    }
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
