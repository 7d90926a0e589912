"""Killed with SIGKILL while it enters a failure, a collection counts the failure once when it is run again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.storage import dead_letters, series
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.collect.test_crash import NOW, collect

COUNTS = """
select
    (select array_agg(attempts) from hl.fetch_failure),
    (select array_agg(attempts) from hl.dead_letter),
    (select array_agg(times_seen) from hl.alert where rule = 'dead_letter'),
    (select count(*) from hl.gap where is_dead)
"""
Counts = tuple[object, ...]
NOTHING: Counts = (None, None, None, 0)
COUNTED: Counts = ([1], None, None, 0)
DEAD: Counts = (None, [1], [1], 1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    """One series of four only sends HTML."""
    faults = FaultPlan(faults=[Fault(FaultKind.HTML, coin="ETH", interval="1m")])
    world = World(11, clock=ManualClock(NOW), history_days=4)
    with RunningSandbox(world, limiter=LimiterMode.OFF, faults=faults) as running:
        yield running


@pytest.mark.parametrize(
    ("point", "attempts_allowed", "left", "in_the_end"),
    [
        ("before a failure commits", 1, NOTHING, DEAD),
        ("after a failure committed", 5, COUNTED, COUNTED),
    ],
)
def test_a_failure_is_counted_once_and_a_letter_dies_as_a_whole(
    point: str,
    attempts_allowed: int,
    left: Counts,
    in_the_end: Counts,
    sandbox: RunningSandbox,
    database: Database,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    with database.connection() as connection:
        connection.execute("update hl.failure_kind set lasting = '0', max_attempts = %s", (attempts_allowed,))
    killed = collect(sandbox, database, tmp_path, empty_database_url, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert counts(database) == left
    finished = collect(sandbox, database, tmp_path, empty_database_url, "none")
    asked_again = left == NOTHING  # and nothing else: a run in which every request fails is a failed run
    assert finished.returncode == int(asked_again), finished.stderr
    assert counts(database) == in_the_end


def counts(database: Database) -> Counts:
    with database.connection() as connection:
        assert series.violations(connection) == []
        assert dead_letters.violations(connection) == []
        (row,) = connection.execute(COUNTS.encode()).fetchall()
    return row
