"""A home of the test's own, a sandbox, and ``hl`` as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hl_pipeline.cli.main import hl
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.storage.engine import Database

COINS = ("BTC", "ETH")
INTERVALS = ("1h", "1d")
Run = Callable[..., Result]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, for it also holds sockets and long folder names."""
    made = Path(tempfile.mkdtemp(prefix="hl-cli-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def exchange() -> Iterator[RunningSandbox]:
    """A sandbox on the system clock, two markets, forty days of history, no limit."""
    world = World(3, markets=markets_named(*COINS), history_days=40)
    with RunningSandbox(world, limiter=LimiterMode.OFF) as sandbox:
        yield sandbox


@pytest.fixture
def environ(
    monkeypatch: pytest.MonkeyPatch, database: Database, exchange: RunningSandbox, home: Path
) -> dict[str, str]:
    """``HL_*`` for a sandbox venue on a migrated database; in force in this process."""
    for name in [name for name in os.environ if name.startswith(("HL_", "DAGSTER_")) and "TEST" not in name]:
        monkeypatch.delenv(name)
    ours = {
        "HL_VENUE": "sandbox",
        "HL_ENDPOINT": exchange.url,
        "HL_DATABASE_URL": database.libpq_url,
        "HL_HOME": str(home),
        "HL_UNIVERSE": "list",
        "HL_MARKETS": ",".join(COINS),
        "HL_INTERVALS": ",".join(INTERVALS),
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return ours


@pytest.fixture
def run() -> Run:
    """Run ``hl`` in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(hl, arguments, catch_exceptions=False, prog_name="hl")

    return invoke


def hl_command(*arguments: str) -> list[str]:
    """``hl`` as a process of its own."""
    return [sys.executable, "-m", "hl_pipeline.cli.main", *arguments]


def started(arguments: list[str], environ: Mapping[str, str], output: Path) -> subprocess.Popen[bytes]:
    """A process in the background, its output in a file."""
    with output.open("wb") as out:
        return subprocess.Popen(
            arguments, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
