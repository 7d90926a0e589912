"""A few rounds of the drill: killed at random moments, by turns with SIGKILL and SIGTERM, nothing is lost or left."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills import Drill, opened, plan

pytestmark = pytest.mark.timeout(600)
SEED = 5


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    home = Path(tempfile.mkdtemp(prefix="hl-kills-"))
    try:
        with opened(SEED, home) as opened_drill:
            yield opened_drill
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("target", ["collect", "backfill", "stream"])
def test_a_process_killed_at_a_random_moment_loses_nothing_and_leaves_nothing(drill: Drill, target: str) -> None:
    drill.play(target, 1)
    made = drill.rounds[-1]
    assert made.wrongs == [], f"seed {SEED}: {made}"


def test_a_drill_that_finds_something_missing_says_so(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill.stage, "content", lambda url, _: [("candle", len(url), ""), ("coverage", 0, url)])
    monkeypatch.setattr("benchmarks.kills.CALM_SECONDS", 0.0)
    monkeypatch.setattr(drill.stage, "difference", lambda *_: "a candle")
    drill.play("collect", 1)
    made = drill.rounds[-1]
    assert any("the tables differ" in wrong and "a candle" in wrong for wrong in made.wrongs)
    assert "WRONG" in str(made)


def test_the_plan_kills_as_often_as_it_is_told() -> None:
    for rounds in (4, 16, 50):
        planned = plan(rounds, random.Random(1))
        assert sum(kills for _, kills in planned) == rounds
        assert planned == plan(rounds, random.Random(1))
