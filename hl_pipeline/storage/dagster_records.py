"""What Dagster keeps of itself, read by SQL from its own tables: importing Dagster takes longer than the whole report.

The columns read here are old and plain, but Dagster promises nothing about them; a test holds them to the installed
version.
"""

from __future__ import annotations

from hl_pipeline.model.vitals import DagsterVitals, UnfinishedRuns
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


def dagster_records(connection: Connection) -> DagsterVitals | None:
    """Heartbeats, runs and switches, on a connection to Dagster's database; null before Dagster made its tables."""
    row = connection.execute(query("dagster_tables_present")).fetchone()
    if row is None or not row[0]:
        return None
    heartbeats = connection.execute(query("dagster_heartbeats")).fetchall()
    ended = connection.execute(query("dagster_runs_ended")).fetchone()
    failing, failed = ended if ended is not None else ([], 0)
    return DagsterVitals(
        silent_s={name: silent_s for name, silent_s, _ in heartbeats},
        ailing=tuple(name for name, _, is_ailing in heartbeats if is_ailing),
        unfinished=tuple(UnfinishedRuns(*run) for run in connection.execute(query("dagster_runs_unfinished"))),
        failing=tuple(failing),
        failed=failed,
        switched_on=frozenset(name for (name,) in connection.execute(query("dagster_switched_on"))),
    )
