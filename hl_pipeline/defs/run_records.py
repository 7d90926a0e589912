"""Dagster's own records of live runs: the finished ones older than a bound go, with their events and check results.

Only runs of the jobs named here, which touch no partition: deleting a run deletes its materializations, and a
partition would be missing. Ticks have a bound of their own in ``dagster.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from hl_pipeline.model.halt import Halt
from hl_pipeline.model.interval import to_datetime

#: Jobs that run by a schedule or a sensor and materialize nothing that has partitions.
LIVE_JOBS = (
    "collect",
    "drain_gaps",
    "refresh_markets",
    "refresh_funding",
    "health",
    "contracts",
    "measure_service_levels",
    "recalculate_confidence",
    "apply_retention",
)
#: So many of each job's newest runs stay whatever their age, with what their assets and checks last said.
KEPT_RUNS = 100
#: More wait for the next run.
MOST_RUNS = 20_000
_BATCH = 200
_OF_PARTITIONS = {
    "dagster/backfill",
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
}
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class DueRuns(NamedTuple):
    """Finished live runs that are due: their ids, each job's oldest first, and when the oldest was created (ms UTC)."""

    run_ids: Sequence[str]
    oldest_ms: int | None


def due_runs(instance: dg.DagsterInstance, before_ms: int) -> DueRuns:
    """The runs of ``LIVE_JOBS`` created before an instant of this machine's clock, but for each job's newest."""
    found: list[str] = []
    oldest_ms: list[int] = []
    for job in LIVE_JOBS:
        kept = instance.get_run_records(dg.RunsFilter(job_name=job), limit=KEPT_RUNS)
        if len(kept) < KEPT_RUNS:
            continue
        before = min(to_datetime(before_ms), kept[-1].create_timestamp)
        filters = dg.RunsFilter(job_name=job, statuses=_FINISHED, created_before=before)
        spared = {record.dagster_run.run_id for record in kept}
        ids = [run_id for run_id in instance.get_run_ids(filters) if run_id not in spared]
        if ids:
            (oldest,) = instance.get_run_records(dg.RunsFilter(run_ids=[ids[-1]]))
            oldest_ms.append(_ms(oldest.create_timestamp))
            found += reversed(ids)
    return DueRuns(found, min(oldest_ms, default=None))


def drop_runs(
    instance: dg.DagsterInstance, run_ids: Sequence[str], *, most: int = MOST_RUNS, halt: Halt | None = None
) -> int:
    """Delete these runs with everything Dagster keeps of them; returns how many. Runs of partitions are left alone."""
    halt = halt or Halt()
    dropped = 0
    chosen = list(run_ids[:most])
    for start in range(0, len(chosen), _BATCH):
        halt.check()
        records = instance.get_run_records(dg.RunsFilter(run_ids=chosen[start : start + _BATCH]))
        runs = [record.dagster_run for record in records]
        plain = [run.run_id for run in runs if run.is_finished and not _OF_PARTITIONS & run.tags.keys()]
        _drop(instance, plain)
        dropped += len(plain)
    return dropped


def _drop(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """The run itself goes last: whatever a crash leaves is found again by the next pass."""
    storage = instance.event_log_storage
    if run_ids and isinstance(storage, SqlEventLogStorage):
        # no method of Dagster's deletes these by run; they would speak of runs that are gone
        with storage.index_connection() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id.in_(run_ids))
            )
    for run_id in run_ids:
        storage.delete_events(run_id)
        instance.delete_run(run_id)


def before_ms(bound_ms: int) -> int:
    """What this machine's clock showed so long ago; Dagster stamps its records with it, not with market time."""
    return _ms(datetime.now(UTC)) - bound_ms


def _ms(at: datetime) -> int:
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
