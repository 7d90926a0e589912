from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hl_pipeline.cli.demo.command import show
from hl_pipeline.cli.demo.stage import demo_settings
from hl_pipeline.cli.demo.switchboard import Asked, Switchboard, most_weight_in_a_minute
from hl_pipeline.cli.demo.verdict import Promise
from hl_pipeline.cli.screen import console
from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline_tests.cli.conftest import hl_command

NOON = 1_750_000_020_000


def play_beginning(home: Path) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
    environ = {**clean, "HL_HOME": str(home), "HL_VENUE": "live"}
    return subprocess.Popen(
        hl_command("demo"),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def play_once(home: Path) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    with play_beginning(home) as process:
        try:
            output, errors = process.communicate(timeout=900)
        finally:
            process.kill()
    return process.returncode, output, errors


@pytest.mark.timeout(900)
def test_the_demo_keeps_its_promises_and_does_so_again_on_what_is_there(home: Path) -> None:
    code, output, errors = play_once(home)
    assert code == 0, output[-3000:] + errors[-2000:]
    assert "All 13 held." in output
    assert "10 of 10 slots filled" in output
    assert "failed  coverage_complete" in output
    assert "passed  coverage_complete" in output
    assert errors == ""
    code, output, errors = play_once(home)
    assert code == 0, output[-3000:] + errors[-2000:]
    assert "applied V0001" not in output
    assert "All 13 held." in output


@pytest.mark.timeout(900)
def test_demos_begun_at_once_have_an_exchange_each(home: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for code, output, errors in pool.map(play_once, (home / "one", home / "two")):
            assert code == 0, output[-3000:] + errors[-2000:]
            assert "All 13 held." in output
            assert errors == ""


def test_a_demo_whose_exchange_went_away_says_so_without_a_traceback() -> None:
    board = Switchboard(f"http://127.0.0.1:{free_port()}")
    assert not board.is_ready()
    with pytest.raises(TryAgain, match="run the demo again"):
        board.set_clock(NOON)


def test_one_broken_promise_is_shown_as_broken(capsys: pytest.CaptureFixture[str]) -> None:
    show([Promise("P2", "b", False, "two"), Promise("P1", "a", True, "one")], console())
    shown = capsys.readouterr().out
    assert "1 of 2 did not hold" in shown
    assert shown.index("P1") < shown.index("P2")


def test_of_the_users_settings_only_home_and_port_count(tmp_path: Path) -> None:
    settings = demo_settings({"HL_HOME": str(tmp_path), "HL_VENUE": "live", "HL_UI_PORT": "3456"}, None)
    assert settings.venue == "sandbox"
    assert settings.home == tmp_path / "demo"
    assert settings.ui_port == 3456
    assert settings.database_url is None
    assert demo_settings({}, 3999).ui_port == 3999


def test_the_heaviest_minute_is_found_wherever_it_begins() -> None:
    asked = [
        Asked(n, at, "candleSnapshot", 200, 1, 100, "") for n, at in enumerate((0, 30_000, 59_999, 60_000, 200_000))
    ]
    assert most_weight_in_a_minute(asked) == 300
    assert most_weight_in_a_minute([]) == 0


def test_the_switchboard_moves_the_clock_switches_faults_and_reads_the_log() -> None:
    with RunningSandbox(World(1, clock=ManualClock(NOON)), limiter=LimiterMode.OFF) as sandbox:
        board = Switchboard(sandbox.url)
        board.set_clock(NOON + 60_000)
        assert sandbox.clock.now_ms() == NOON + 60_000
        board.add_faults({"kind": "late", "coin": "BTC", "interval": "1m", "opens_ms": [NOON]})
        assert len(sandbox.faults.in_force()) == 1
        board.tell_the_truth()
        assert not sandbox.faults.in_force()
        assert board.asked() == []
