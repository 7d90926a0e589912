"""Our database and Dagster's: reachable, of this version, ours to write, with room; and nothing left of the dead."""

from __future__ import annotations

from hl_pipeline.cli.doctor.finding import Finding, fail, looked, ok, warn
from hl_pipeline.health.machinery import DAEMON_SILENT_S, ESSENTIAL, LONGEST_S
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.model.vitals import DagsterVitals
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings
from hl_pipeline.storage import checkup, leases, migrations
from hl_pipeline.storage.dagster_records import dagster_records
from hl_pipeline.storage.embedded import attach
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query

#: Multiranges came with the first, MAINTAIN with the second; every test runs on the third.
OLDEST, OLDEST_WELL, TESTED = 14, 17, 18
_SHOWN = 3


def on_database(settings: Settings) -> list[Finding]:
    """Every line about both databases; few of them where the first is away."""
    if settings.database_url is None and attach(settings.venue_home, patience_seconds=5) is None:
        text = f"no Postgres runs in {settings.venue_home}"
        return [warn("database", text, "`hl up` starts it (so does `hl db start`); then ask again")]
    try:
        with open_database(settings, application_name="hl doctor") as database:
            with database.connection() as connection:
                found = _on_server(connection, database, settings)
            return [*found, *looked("dagster", lambda: _on_dagster(database))]
    except DatabaseUnavailable as error:
        return [fail("database", str(error), "start the server, or mend HL_DATABASE_URL: host, port, user, password")]


def _on_server(connection: Connection, database: Database, settings: Settings) -> list[Finding]:
    state = checkup.server_state(connection)
    found = [
        ok("database", f"{database.address} answers, as {state.role}"),
        on_version(state.version, state.version_number),
    ]
    found.append(on_room(state, settings.concurrency, interfaces=1 + (settings.viewer_port is not None)))
    may_write, may_make = checkup.rights(connection)
    found.append(on_rights(state.role, may_write, may_make))
    found += looked("schema", lambda: [_on_schema(connection)])
    if not may_write:
        return found
    return [*found, _on_venue(connection, settings.venue), _on_sessions(connection), _on_work(connection)]


def on_version(version: str, number: int) -> Finding:
    """The server is new enough."""
    text, major = f"Postgres {version} ({TESTED} is tested)", number // 10_000
    if major < OLDEST:
        return fail("postgres version", text, f"move to Postgres {TESTED}; before {OLDEST} there are no multiranges")
    if major < OLDEST_WELL:
        return warn(
            "postgres version", text, f"move to {OLDEST_WELL} or later: only its owner may refresh the metrics here"
        )
    return ok("postgres version", text)


def on_room(state: checkup.ServerState, concurrency: int, *, interfaces: int) -> Finding:
    """The server takes all the connections our processes may hold at once."""
    needed = sum(checkup.most_connections(concurrency, interfaces=interfaces).values())
    text = (
        f"{state.used} of {state.most} in use, {state.ours} of them ours; {state.room} are left for us, and all our "
        f"processes together may hold {needed}"
    )
    if state.room < needed // 2:
        return fail("connections", text, "raise max_connections of the server, or lower HL_CONCURRENCY")
    if state.room < needed:
        return warn("connections", text, "raise max_connections of the server, or lower HL_CONCURRENCY")
    return ok("connections", text)


def on_rights(role: str, may_write: bool | None, may_make: bool) -> Finding:
    """We may write our rows; on an empty database, make our schema."""
    if may_write is None and may_make:
        return ok("rights", f"{role} may make the schema")
    if may_write is None:
        step = "give the database to this user, or run `hl migrate` as one who may make it (docs/deployment.md)"
        return fail("rights", f"{role} may not make the schema here", step)
    if not may_write:
        step = f"grant hl_writer to {role}; a reader's login cannot run the pipeline"
        return fail("rights", f"{role} may not write the pipeline's rows", step)
    return ok("rights", f"{role} may write the pipeline's rows")


def _on_schema(connection: Connection) -> Finding:
    found = migrations.state(connection)
    if not found.installed:
        return warn("schema", "there is none of ours yet", "`hl up` makes it, or `hl migrate`")
    if found.pending:
        text = f"older than this code: {len(found.pending)} files wait, {', '.join(found.pending[:_SHOWN])}"
        return fail("schema", text, "`hl migrate`, or start `hl up`, which does it")
    return ok("schema", f"as this code wants it, {len(found.installed)} migrations")


def _on_venue(connection: Connection, venue: str) -> Finding:
    row = connection.execute(query("installation_venue")).fetchone()
    if row is None or row[0] == venue:
        return ok("venue", f"the database holds {'nothing yet' if row is None else f'data of {venue}'}")
    return fail(
        "venue",
        f"the database holds data of {row[0]}, and HL_VENUE is {venue}",
        f"set HL_VENUE={row[0]}, or another database",
    )


def _on_sessions(connection: Connection) -> Finding:
    found = checkup.hindrances(connection)
    if not found:
        return ok("locks", "no session holds others up")
    told = "; ".join(f"{one.name} (pid {one.pid}) {one.trouble} for {one.seconds:.0f} s" for one in found[:_SHOWN])
    step = f"end what hangs: select pg_terminate_backend({found[0].pid})"
    return warn("locks", f"{len(found)} sessions hold others up: {told}", step)


def _on_work(connection: Connection) -> Finding:
    """A lease blocks nobody, so one of the dead is no finding; a request without an end shows that somebody died."""
    held, left = leases.in_force(connection), checkup.unanswered(connection)
    holders = ", ".join(lease.holder for lease in held[:_SHOWN]) or "nobody"
    text = f"{holders} at work ({len(held)} leases in force); {left} requests without an end"
    if left:
        return warn("work", text, "the next collection closes them; if none runs, `hl collect`")
    return ok("work", text)


def _on_dagster(database: Database) -> list[Finding]:
    try:
        with Database(database.dagster_url, application_name="hl doctor") as theirs, theirs.connection() as connection:
            records = dagster_records(connection)
            address = theirs.address
    except DatabaseUnavailable as error:
        return [warn("dagster storage", f"Dagster's database: {error}", "the first `hl up` makes it")]
    if records is None:
        return [warn("dagster storage", f"{address} holds no tables of Dagster yet", "the first `hl up` makes them")]
    from hl_pipeline.defs.upkeep import storage_revision  # here, because importing Dagster takes seconds

    return [on_revision(*storage_revision(database.dagster_url)), on_runs(records), on_daemon(records)]


def on_revision(found: str | None, newest: str | None) -> Finding:
    """Dagster's tables are those of the installed version."""
    if found == newest:
        return ok("dagster storage", f"its tables are those of this Dagster ({found})")
    text = f"its tables are of revision {found}, and this Dagster wants {newest}"
    return fail("dagster storage", text, 'stop `hl up`; eval "$(hl env)" && dagster instance migrate')


def on_runs(records: DagsterVitals) -> Finding:
    """No run is under way for longer than any may be."""
    dead = [run for run in records.unfinished if run.longest_s > LONGEST_S.get(run.state, float("inf"))]
    if not dead:
        return ok("runs", f"{sum(run.runs for run in records.unfinished)} not ended, none of them for too long")
    told = ", ".join(f"{run.runs} of {run.job} {run.state.lower()} for {run.longest_s:.0f} s" for run in dead[:_SHOWN])
    return warn(
        "runs", f"look dead: {told}", "restart `hl up`: it ends the runs a crash left; or terminate them in the UI"
    )


def on_daemon(records: DagsterVitals) -> Finding:
    """The daemon lives while something is on; what is needed is on."""
    silent_s = min(records.silent_s.values(), default=None)
    off = sorted(ESSENTIAL - records.switched_on)
    if silent_s is None or silent_s > DAEMON_SILENT_S:
        when = "never ran" if silent_s is None else f"last spoke {silent_s:.0f} s ago"
        return warn("daemon", f"Dagster's daemon {when}: nothing is collected on schedule", "run `hl up`")
    if off:
        return warn("daemon", f"it runs, and these are off: {', '.join(off)}", f"hl start {' '.join(off)}")
    return ok("daemon", f"it spoke {silent_s:.0f} s ago, and all that is needed is on")
