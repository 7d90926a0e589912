"""What everything stands on: a running Postgres with this version's schema, for one venue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr

from hl_pipeline.cli.only_one import OnlyOne, only_one
from hl_pipeline.model.failure import DatabaseUnavailable, NeedsAPerson
from hl_pipeline.runtime import migration_url, open_database
from hl_pipeline.settings import PREFIX, PROFILED, Settings
from hl_pipeline.storage import postmaster
from hl_pipeline.storage.embedded import EmbeddedPostgres, attach
from hl_pipeline.storage.engine import Database, create_database_if_missing
from hl_pipeline.storage.migrations import MigrationReport, claim_venue, migrate
from hl_pipeline.storage.postgres_home import PostgresHome
from hl_pipeline.storage.roles import Login, dagster_url, login_url

#: Fields that are filled in where nobody gave them.
_FILLED_IN = frozenset({"endpoint", "endpoints"})


@dataclass(frozen=True, slots=True)
class Ground:
    """A migrated database. ``server`` is the embedded Postgres, if that is what it is; else ``place`` is held on it."""

    settings: Settings
    database: Database
    server: EmbeddedPostgres | None
    migration: MigrationReport
    place: OnlyOne | None = None

    @property
    def settings_of_children(self) -> Settings:
        """What the processes under us are told: to write as one who changes no table. Their logins are made here.

        On a server of the user's own they are whom HL_DATABASE_URL names, and never learn HL_MIGRATE_URL.
        """
        server = attach(self.settings.venue_home) if self.server is not None else None
        if server is None:
            return self.settings.model_copy(update={"migrate_url": None})
        home = self.settings.venue_home
        urls = {
            "database_url": SecretStr(login_url(server, home, Login.WRITER)),
            "dagster_database_url": SecretStr(dagster_url(server, home)),
        }
        return self.settings.model_copy(update=urls)

    def tend(self) -> bool:
        """Start the embedded server again if it has died, or was told to end; true if so.

        Postgres takes SIGTERM as a wish to end once its clients have left. Ours never do, and it lets no new ones in.

        Raises:
            AlreadyRunning: another `hl up` has taken over the server of one's own, while that was away.
        """
        if self.place is not None:
            self.place.tend()
        home = PostgresHome(self.settings.venue_home)
        if self.server is None or (postmaster.running(home) is not None and not postmaster.is_stopping(home)):
            return False
        self.server.start()
        return True


@contextmanager
def prepared(settings: Settings) -> Iterator[Ground]:
    """Start Postgres (or use HL_DATABASE_URL), bring its schema up to date, claim it for the venue; stop it at the end.

    Raises:
        AlreadyRunning: another process owns the embedded server, or runs on the named one.
        DatabaseUnavailable: the named server cannot be reached, or recovery takes long.
        SchemaMismatch: the database is newer than this code.
        InvalidSetting: the database holds another venue's data.
    """
    server = EmbeddedPostgres(settings.venue_home) if settings.database_url is None else None
    try:
        if server is not None:
            server.start()
        with open_database(settings) as database, ExitStack() as held:
            as_owner = migration_url(settings, database)
            for url in (as_owner, database.dagster_url):
                _ensure_exists(url)
            place = held.enter_context(only_one(database)) if server is None else None
            migration = migrate(as_owner)
            with database.connection() as connection:
                claim_venue(connection, settings.venue)
            yield Ground(settings, database, server, migration, place)
    finally:
        if server is not None:
            server.stop()


def _ensure_exists(url: str) -> None:
    """Make the database that ``url`` names if it is not there; who may not make databases needs none made."""
    try:
        with Database(url) as database, database.connection():
            return
    except DatabaseUnavailable:
        pass  # the server is down, or the database is missing: the next lines tell which
    try:
        create_database_if_missing(url)
    except InsufficientPrivilege as error:
        raise NeedsAPerson(
            f"the database {Database(url).address} does not exist and this user may not make it: "
            "create it, or name another in HL_DATABASE_URL (Dagster's is HL_DAGSTER_DATABASE_URL, "
            "by default the same name with _dagster)"
        ) from error


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as the ``HL_*`` variables that say them; secrets in clear, for the environment of a child."""
    given: dict[str, str] = {}
    default = Settings()
    for name, value in settings:
        # what was given is said though it be the default: the child may inherit another value, which an option overrode
        is_said = settings.is_set(name) and value is not None
        # the venue's endpoint counts as given; and a variable that the profile's value set would count as a choice
        if name in _FILLED_IN or not (is_said or name in PROFILED):
            is_said = value != getattr(default, name)
        if not is_said and name != "home":
            continue
        given[PREFIX + name.upper()] = _said(value)
    return given


def _said(value: object) -> str:
    """The value as its variable says it; addresses may hold commas, so secrets stand between spaces."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        between = " " if any(isinstance(item, SecretStr) for item in value) else ","
        return between.join(map(_said, value))
    return str(value)
