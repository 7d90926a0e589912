"""docs/deployment.md and deploy/ against what they speak of."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from hl_pipeline.cli.main import hl
from hl_pipeline.settings import Settings
from hl_pipeline.storage.checkup import RUNS_AT_ONCE, most_connections
from hl_pipeline.storage.postmaster import CONFIGURATION

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def test_the_connections_add_up_and_are_those_of_the_doctor() -> None:
    told = {name: int(count) for name, count in re.findall(r"^\| ([\w ]+) \| (\d+) \|$", PAGE, re.MULTILINE)}
    assert told.pop("together") == sum(told.values())
    assert told == most_connections(Settings().concurrency)
    assert f"The embedded server takes {CONFIGURATION['max_connections']}" in PAGE


def test_the_limits_are_those_in_force() -> None:
    dagster = (ROOT / "dagster.yaml").read_text("utf-8")
    assert re.findall(r"^  max_runtime_seconds: (\d+)$", dagster, re.MULTILINE) == ["3600"]
    assert re.findall(r"^    max_concurrent_runs: (\d+)$", dagster, re.MULTILINE) == [str(RUNS_AT_ONCE)]
    assert Settings().backfill_max_minutes * 60 < 3600
    assert f"| {Settings().run_memory_mb} MB, then it ends" in PAGE
    assert f"| {Settings().weight_per_minute} a minute" in PAGE


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`|&& |; )hl ([a-z]+)", PAGE, re.MULTILINE))))
def test_every_command_of_ours_exists(command: str) -> None:
    assert isinstance(hl, click.Group)
    assert command in hl.list_commands(click.Context(hl))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bHL_[A-Z_]*[A-Z]\b", PAGE)) - {"HL_HOME"}))
def test_every_variable_exists(name: str) -> None:
    assert name.removeprefix("HL_").lower() in Settings.model_fields


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_units_run_commands_of_ours_with_the_same_settings(unit: Path) -> None:
    read = ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[method-assign,assignment]  # systemd minds the case
    read.read(unit)
    service = read["Service"]
    program, command, *_ = service["ExecStart"].split()
    assert program.endswith("/.venv/bin/hl")
    assert isinstance(hl, click.Group)
    assert command in hl.list_commands(click.Context(hl))
    assert service["EnvironmentFile"] == "/etc/hl_pipeline/environment"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "hl"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    units = [tmp_path / unit.name for unit in (ROOT / "deploy" / "systemd").iterdir()]
    for unit in units:
        text = (ROOT / "deploy" / "systemd" / unit.name).read_text("utf-8")
        unit.write_text(text.replace("/srv/hl_pipeline", str(tmp_path)).replace("User=hl", "User=root"), "utf-8")
    judged = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert (judged.returncode, judged.stderr) == (0, "")


def test_a_shell_reads_the_file_of_settings_as_systemd_does(tmp_path: Path) -> None:
    (block,) = [block for block in PAGE.split("```") if block.strip().startswith("HL_VENUE=")]
    (tmp_path / "environment").write_text(block, "utf-8")
    script = "set -eu; set -a; . ./environment; set +a; env"
    told = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60, check=True
    )
    held = dict(line.split("=", 1) for line in told.stdout.splitlines() if line.startswith("HL_"))
    assert held["HL_DATABASE_URL"].endswith("?sslmode=verify-full")
    assert held["HL_ALERT_URLS"].count(" ") == 1
    assert set(held) == set(re.findall(r"^(HL_\w+)=", block, re.MULTILINE))
