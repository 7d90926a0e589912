"""``hl db start|stop|url`` for the embedded server, ``hl migrate`` for the schema of whichever server is set."""

from __future__ import annotations

import click

from hl_pipeline.cli.screen import print_json
from hl_pipeline.model.failure import DatabaseUnavailable, InvalidSetting
from hl_pipeline.runtime import migration_url, open_database
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
@click.option("--reader", "login", flag_value="reader", help="As one who sees market data and can change nothing.")
@click.option("--operator", "login", flag_value="operator", help="Who also sees and handles failures and alerts.")
@click.option("--writer", "login", flag_value="writer", help="Who writes rows, but makes and drops nothing.")
@click.option("--migrate", "login", flag_value="migrate", help="Who may change the schema.")
def url(dagster: bool, login: str | None) -> None:
    """Print the URL of the running database; it holds the password.

    For example: psql "$(hl db url --reader)". Without an option it is the
    administrator's.
    """
    if login is not None:
        if dagster:
            raise click.UsageError("the pipeline's roles have no business in Dagster's database")
        click.echo(_login_url(login))
        return
    with open_database(Settings.load()) as database:
        click.echo(database.dagster_url.replace("+psycopg2", "") if dagster else database.libpq_url)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def migrate(as_json: bool) -> None:
    """Bring the database to this version's schema.

    Safe to run again, to kill, and to run twice at once.
    """
    from hl_pipeline.storage.migrations import migrate as bring_up_to_date

    settings = Settings.load()
    with open_database(settings) as database:
        report = bring_up_to_date(migration_url(settings, database))
        if as_json:
            print_json({"applied": report.applied, "took_ms": report.took_ms})
            return
        if not report.applied:
            click.echo(f"{database.address} is up to date.")
        for name in report.applied:
            click.echo(f"applied {name}")


def _login_url(login: str) -> str:
    from hl_pipeline.storage.embedded import attach
    from hl_pipeline.storage.roles import Login, login_url

    settings = Settings.load()
    if settings.database_url is not None:
        raise InvalidSetting(
            "HL_DATABASE_URL names a server of your own, where an administrator makes the logins: "
            f"create role ann login in role hl_{login}; password it with \\password ann"
        )
    server = attach(settings.venue_home)
    if server is None:
        raise DatabaseUnavailable(f"no Postgres is running in {settings.venue_home}: start one with `hl db start`")
    return login_url(server, settings.venue_home, Login(login))


def _embedded() -> Settings:
    settings = Settings.load()
    if settings.database_url is not None:
        raise InvalidSetting(
            "HL_DATABASE_URL names a server of your own, which hl neither starts nor stops; "
            "unset it to use the embedded one"
        )
    return settings
