"""The failover drill as a whole: it holds on a pipeline that fails over, and names the step on one that does not."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from hl_pipeline import drill as drills
from hl_pipeline.drill import STEPS, drill, play
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import AlreadyRunning
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline.storage.embedded import EmbeddedPostgres, attach
from hl_pipeline.storage.engine import Database

CLOCK = ManualClock(1_785_067_200_000)  # 2026-07-26T12:00:00Z
NAMES = [name for name, _, _ in STEPS]


def test_the_load_goes_over_and_comes_back_and_nothing_is_lost(database: Database) -> None:
    report = play(database, CLOCK)
    assert report.held, report.sentence
    assert [step.name for step in report.steps] == NAMES
    collected, failed, healed, lost = report.steps
    assert "2 requests answered by the first, 0 by the second" in collected.seen
    assert (failed.seen.startswith("breaker open"), failed.market_minutes) == (True, drills.OUTAGE_MINUTES)
    assert "breaker closed" in healed.seen
    assert "all equal to the exchange's" in lost.seen
    with database.connection() as connection:
        states = connection.execute("select count(distinct endpoint) from hl.fetch where status = 'landed'").fetchone()
    assert states == (2,)


@pytest.mark.parametrize(
    ("fault", "step", "said"),
    [
        (Fault(FaultKind.BAD_GATEWAY), 2, "minute 1 of the outage: 2 of 2 requests failed"),
        (Fault(FaultKind.STALE, request="candleSnapshot", amount=600_000), 2, "slots missing"),
        (Fault(FaultKind.SHIFTED, amount=30), 4, "wrong: BTC at "),
    ],
)
def test_a_second_endpoint_that_fails_is_late_or_lies_fails_the_drill_at_its_step(
    database: Database, fault: Fault, step: int, said: str
) -> None:
    report = play(database, CLOCK, spare_faults=[fault])
    assert not report.held
    assert len(report.steps) == step, "nothing is played after the step that did not hold"
    assert report.sentence.startswith(f"failover drill, step {step} of 4, {NAMES[step - 1]}: expected ")
    assert said in report.sentence
    assert "Next: run `hl drill`" in report.sentence


def test_a_load_that_does_not_come_back_fails_the_drill(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultPlan, "clear", lambda _: None)
    monkeypatch.setattr(drills, "RETURN_MINUTES", 2)
    report = play(database, CLOCK)
    assert report.sentence.startswith("failover drill, step 3 of 4, the first endpoint heals: ")
    assert "the second still answers after 2 minutes" in report.sentence


def test_what_ends_a_step_with_an_error_is_told_as_what_was_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AlreadyRunning("another one has the lease")

    monkeypatch.setattr(drills, "refresh_markets", refuse)
    assert "step 1 of 4, collect through the first endpoint" in (said := play(database, CLOCK).sentence)
    assert "seen: another one has the lease" in said


def test_the_database_is_gone_afterwards_also_that_of_a_drill_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    killed = EmbeddedPostgres(folder)
    with psycopg.connect(killed.start().dsn(), autocommit=True) as left:
        left.execute("create schema hl")
    with pytest.raises(AlreadyRunning, match="belongs to process"):
        drill(folder, CLOCK)
    assert attach(folder) is not None, "what another drill plays on stays"
    killed._release()  # what the kernel does when a process is killed; its Postgres runs on
    assert drill(folder, CLOCK).held
    assert killed._process is not None
    killed._process.wait()
    assert not folder.exists()
