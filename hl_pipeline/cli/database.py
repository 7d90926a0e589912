"""``hl db start|stop|url`` for the embedded server, ``hl migrate`` for the schema of whichever server is set."""

from __future__ import annotations

import click

from hl_pipeline.cli.screen import print_json
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings


@click.group()
def db() -> None:
    """Start and stop the embedded Postgres, or print its URL.

    With HL_DATABASE_URL set there is no embedded server: that one is yours
    to start and stop.
    """


@db.command()
def start() -> None:
    """Start the embedded Postgres and leave it running."""
    from hl_pipeline.storage.embedded import EmbeddedPostgres, attach

    settings = _embedded()
    server = attach(settings.venue_home)
    if server is not None:
        click.echo(
            f"Postgres already runs on 127.0.0.1:{server.port} (process {server.pid}, data in {settings.venue_home})."
        )
        return
    server = EmbeddedPostgres(settings.venue_home).start()  # its lock goes with this process; the server stays
    click.echo(f"Postgres runs on 127.0.0.1:{server.port} (process {server.pid}, data in {settings.venue_home}).")
    click.echo("Stop it with `hl db stop`.")


@db.command()
def stop() -> None:
    """Stop the embedded Postgres."""
    from hl_pipeline.storage.embedded import EmbeddedPostgres, attach

    settings = _embedded()
    if attach(settings.venue_home) is None:
        click.echo(f"No Postgres is running in {settings.venue_home}.")
        return
    server = EmbeddedPostgres(settings.venue_home)
    server.start()  # takes it over, and refuses while another process owns it
    server.stop()
    click.echo("Postgres has stopped.")


@db.command()
@click.option("--dagster", is_flag=True, help="Dagster's own database instead of the pipeline's.")
def url(dagster: bool) -> None:
    """Print the URL of the running database; it holds the password.

    For example: psql "$(hl db url)".
    """
    with open_database(Settings.load()) as database:
        click.echo(database.dagster_url.replace("+psycopg2", "") if dagster else database.libpq_url)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def migrate(as_json: bool) -> None:
    """Bring the database to this version's schema.

    Safe to run again, to kill, and to run twice at once.
    """
    from hl_pipeline.storage.migrations import migrate as bring_up_to_date

    with open_database(Settings.load()) as database:
        report = bring_up_to_date(database.libpq_url)
        if as_json:
            print_json({"applied": report.applied, "took_ms": report.took_ms})
            return
        if not report.applied:
            click.echo(f"{database.address} is up to date.")
        for name in report.applied:
            click.echo(f"applied {name}")


def _embedded() -> Settings:
    settings = Settings.load()
    if settings.database_url is not None:
        raise InvalidSetting(
            "HL_DATABASE_URL names a server of your own, which hl neither starts nor stops; "
            "unset it to use the embedded one"
        )
    return settings
