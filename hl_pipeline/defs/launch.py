"""Dagster for programs: run a job here, turn the automation on and off, prepare the instance.

The command line imports this inside its commands only; importing Dagster costs
more than a second. Everything acts on the instance of ``DAGSTER_HOME`` unless
it is given one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from hl_pipeline.defs.automation import Switch, set_instigators, switches
from hl_pipeline.defs.listing import build
from hl_pipeline.defs.tags import REASON
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.runtime import Pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database

#: What ``workspace.yaml`` calls us; a gRPC workspace must use the same ``location_name``.
LOCATION = "hl_pipeline"
#: What the default launcher notes of the code server, as JSON.
_STARTED_BY = ".dagster/grpc_info"
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One evaluated check. ``name`` is ``asset/check``; ``severity`` is WARN or ERROR, also when it passed."""

    name: str
    passed: bool
    severity: str
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One finished run.

    ``assets`` maps an asset's name to the metadata of its (last) materialization as plain values. ``failure`` is the
    first failed step's message, null when the run succeeded.
    """

    success: bool
    run_id: str
    checks: list[CheckOutcome]
    assets: dict[str, dict[str, Any]]
    failure: str | None = None


def run_job(
    name: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    partitions: tuple[str, str] | None = None,
    pipeline: Pipeline | None = None,
    settings: Settings | None = None,
    instance: DagsterInstance | None = None,
) -> RunOutcome:
    """Run the job ``name`` (see ``jobs.py``) to its end in this process, and say what it did.

    ``partitions`` names the first and the last key of a range, both included, of one market:
    ``("BTC|2026-01-01", "BTC|2026-03-01")`` (for ``backfill_candles``).
    ``pipeline`` replaces the one that ``HL_*`` names (it stays open). A failed
    step does not raise; look at ``success`` and ``failure``.

    Raises:
        KeyError: there is no such job; the message lists those there are.
    """
    definitions = build(pipeline=pipeline, settings=settings)
    names = sorted(job.name for job in definitions.jobs or [])
    if name not in names:
        raise KeyError(f"there is no job {name}: choose one of {', '.join(names)}")
    job = definitions.resolve_job_def(name)
    with _instance(instance) as used:
        result = job.execute_in_process(
            run_config=dict(run_config or {}),
            tags={REASON: "a command of hl", **(tags or {}), **_range(partitions)},
            instance=used,
            raise_on_error=False,
        )
        return _outcome(result)


def set_automation(
    running: bool,
    names: Collection[str] | None = None,
    *,
    undecided_only: bool = False,
    instance: DagsterInstance | None = None,
) -> list[str]:
    """Turn the schedules and sensors (or those named) of this code location on or off; returns those it changed.

    Needs no running webserver or daemon: they read the state from the instance, and keep to it after a restart.
    ``undecided_only`` changes only what nobody has ever switched.

    Raises:
        InvalidSetting: a name is neither a schedule nor a sensor of ours; the message lists those there are.
    """
    with _instance(instance) as used:
        return set_instigators(used, build(), LOCATION, running=running, names=names, undecided_only=undecided_only)


def automation(*, instance: DagsterInstance | None = None) -> list[Switch]:
    """Every schedule and sensor of this code location, schedules first, and whether it is on."""
    with _instance(instance) as used:
        return switches(used, build(), LOCATION)


def end_lost_runs(*, instance: DagsterInstance | None = None) -> list[str]:
    """Mark the runs as failed whose process ended with the code server that had started it; returns their ids.

    Call it while no code server of this machine runs. Dagster itself never notices, and such a run would hold its
    lane's one place for an hour. Runs that another launcher started, perhaps elsewhere, are left alone.
    """
    with _instance(instance) as used:
        lost = [
            run
            for run in used.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
            if '"127.0.0.1"' in run.tags.get(_STARTED_BY, "")
        ]
        for run in lost:
            used.report_run_failed(run, "The process of this run ended with the code server that had started it.")
        return [run.run_id for run in lost]


def instance_file() -> Path:
    """``dagster.yaml``: in a checkout it stands in the root, a wheel carries it as ``hl_pipeline/_dagster.yaml``.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for candidate in (_PACKAGE.parent / "dagster.yaml", _PACKAGE / "_dagster.yaml"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no dagster.yaml beside or inside {_PACKAGE}; install the package again")


def prepare_instance(home: Path, dagster_url: str) -> dict[str, str]:
    """Make ``home`` a Dagster home and return what a child process needs in its environment.

    ``dagster_url`` must name its driver, ``postgresql+psycopg2://…``. Our ``dagster.yaml`` is written over a
    differing one: limits come from the release, not from an old copy. The result holds the password.

    Raises:
        InvalidSetting: the URL names another driver.
    """
    if not dagster_url.startswith("postgresql+psycopg2://"):
        raise InvalidSetting(
            "Dagster's storage URL must begin with postgresql+psycopg2:// (with another driver no run is recorded); "
            "pass Database.dagster_url"
        )
    home.mkdir(parents=True, exist_ok=True)
    target = home / "dagster.yaml"
    source = instance_file()
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
    return {
        "DAGSTER_HOME": str(home.absolute()),
        "DAGSTER_STORAGE_URL": dagster_url,
        "DAGSTER_EVENT_BATCH_SIZE": "500",
    }


def environment(settings: Settings, database: Database) -> dict[str, str]:
    """``prepare_instance`` for these settings: what `hl env` prints and `hl up` gives its children."""
    return prepare_instance(settings.dagster_home, database.dagster_url)


def _range(partitions: tuple[str, str] | None) -> dict[str, str]:
    if partitions is None:
        return {}
    first, last = partitions
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@contextmanager
def _instance(given: DagsterInstance | None) -> Iterator[DagsterInstance]:
    if given is not None:
        yield given
        return
    if not os.environ.get("DAGSTER_HOME"):
        raise InvalidSetting("DAGSTER_HOME is not set: set what `hl env` prints, or pass an instance")
    with DagsterInstance.get() as instance:
        yield instance


def _outcome(result: dg.ExecuteInProcessResult) -> RunOutcome:
    checks = [
        CheckOutcome(
            name=f"{found.asset_key.to_user_string()}/{found.check_name}",
            passed=found.passed,
            severity=found.severity.value,
            description=found.description or "",
            metadata=_plain(found.metadata),
        )
        for found in result.get_asset_check_evaluations()
    ]
    assets: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            assets[made.asset_key.to_user_string()] = _plain(made.metadata)
    return RunOutcome(result.success, result.run_id, checks, assets, None if result.success else _first_failure(result))


def _plain(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def _first_failure(result: dg.ExecuteInProcessResult) -> str:
    """A failed step's own sentence; without one, the innermost cause of the first error in the log."""
    for event in result.all_events:
        data = event.event_specific_data
        told = getattr(data, "user_failure_data", None)
        if told is not None and told.description:
            return f"{event.step_key}: {told.description}"
        error = getattr(data, "error", None)
        if error is not None:
            while error.cause is not None:
                error = error.cause
            where = f"{event.step_key}: " if event.step_key else ""
            return where + str(error.message).strip()
    return "the run failed before its first step; its log says why"
