"""What Dagster loads: without effects, and with a word on everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from hl_pipeline.definitions import defs

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("great_expectations", "pandas", "matplotlib", "pyarrow", "sentry_sdk")
LOAD = f"""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("loading the definitions opened a socket")
socket.socket.connect = refuse
socket.create_connection = refuse
from hl_pipeline.definitions import defs
defs.get_repository_def().load_all_definitions()
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the project's root with no variable of ours and no Dagster home."""
    return subprocess.run(
        [*arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_definitions_load_without_network_secret_database_or_heavy_imports() -> None:
    done = bare(sys.executable, "-c", LOAD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_dagster_validates_the_workspace_without_any_variable() -> None:
    dagster = str(Path(sys.executable).with_name("dagster"))
    done = bare(dagster, "definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation successful for code location hl_pipeline" in done.stdout + done.stderr


ASSETS = [spec for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition) for spec in asset.specs]
CHECKS = [spec for check in defs.asset_checks or [] for spec in check.check_specs]
REPOSITORY = defs.get_repository_def()


@pytest.mark.parametrize("spec", ASSETS, ids=lambda spec: spec.key.to_user_string())
def test_every_asset_says_what_it_is_whose_it_is_and_what_its_columns_hold(spec: dg.AssetSpec) -> None:
    assert len(spec.description or "") > 80
    assert spec.owners
    assert spec.group_name
    assert spec.kinds
    assert "dagster/column_schema" in spec.metadata


@pytest.mark.parametrize("spec", CHECKS, ids=lambda spec: spec.name)
def test_every_check_says_what_must_hold_and_what_to_do(spec: dg.AssetCheckSpec) -> None:
    assert len(spec.description or "") > 40


@pytest.mark.parametrize("job", defs.jobs or [], ids=lambda job: job.name)
def test_every_job_says_what_it_does(job: dg.JobDefinition) -> None:
    assert len(job.description or "") > 40


@pytest.mark.parametrize(
    "instigator", [*REPOSITORY.schedule_defs, *REPOSITORY.sensor_defs], ids=lambda instigator: instigator.name
)
def test_every_schedule_and_sensor_says_why_and_waits_to_be_turned_on(
    instigator: dg.ScheduleDefinition | dg.SensorDefinition,
) -> None:
    assert len(instigator.description or "") > 40
    assert instigator.default_status.value == "STOPPED"


def test_no_sensor_looks_more_often_than_every_half_minute() -> None:
    assert all((sensor.minimum_interval_seconds or 0) >= 30 for sensor in REPOSITORY.sensor_defs)
