"""A stored row that later answers lack: kept, told, and cleared when it is back. Against a real HTTP exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_pipeline.health.report import report
from hl_pipeline.health.verdict import Verdict
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.world import Manners, QuietMode
from hl_pipeline.storage import health
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.collect.test_drill import NOON, Drill, drilling, same

MINUTE = 60_000
SLOT = NOON - 30 * MINUTE
RECORDED = "select hl.epoch_ms(open_time), times_absent, seen_again_at is null from hl.vanished_row order by 1"


@pytest.fixture
def drill(database: Database) -> Iterator[Drill]:
    with drilling(database, Manners(QuietMode.DENSE), ("BTC",), (Interval.M1,)) as drill:
        drill.collect()
        yield drill


def vanish(drill: Drill, *slots: int, kind: FaultKind = FaultKind.VANISHED) -> int:
    return drill.sandbox.faults.add(Fault(kind, "BTC", "1m", opens_ms=slots))[0]


def tick(drill: Drill) -> None:
    drill.clock.advance(MINUTE)
    drill.collect()


def recorded(drill: Drill) -> list[tuple[object, ...]]:
    with drill.database.connection() as connection:
        return connection.execute(RECORDED.encode()).fetchall()


def judged(drill: Drill) -> Verdict:
    with drill.database.connection() as connection:
        found = report(health.gather(connection, drill.clock.now_ms(), 60.0))
    return next(verdict for verdict in found.verdicts if verdict.name == "no_vanished_rows")


def test_a_row_that_vanishes_is_kept_told_and_cleared_when_it_is_back(drill: Drill) -> None:
    before = drill.stored("BTC", Interval.M1)
    fault = vanish(drill, SLOT)
    tick(drill)
    tick(drill)
    assert recorded(drill) == [(SLOT, 2, True)]
    found = judged(drill)
    assert not found.passed
    assert "BTC 1m 2026-07-26 11:30 UTC, absent from 2 answers since 2026-07-26 12:01" in found.sentence
    assert same(drill.stored("BTC", Interval.M1)[: len(before)], before), "the candle stays as it was"
    drill.sandbox.faults.remove(fault)
    tick(drill)
    assert recorded(drill) == [(SLOT, 2, False)]
    assert judged(drill).passed


def test_a_row_that_vanishes_again_is_told_again_even_if_the_first_time_was_accepted(drill: Drill) -> None:
    fault = vanish(drill, SLOT)
    tick(drill)
    with drill.database.connection() as connection:
        connection.execute(b"update hl.vanished_row set accepted_at = now()")
    tick(drill)
    assert judged(drill).passed, "accepted, and still the same absence"
    drill.sandbox.faults.remove(fault)
    tick(drill)
    vanish(drill, SLOT)
    tick(drill)
    assert recorded(drill) == [(SLOT, 3, True)]
    assert not judged(drill).passed


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.TRUNCATED, "BTC", "1m"),
        Fault(FaultKind.STALE, "BTC", "1m", amount=10 * MINUTE),
        Fault(FaultKind.EMPTY, "BTC", "1m"),
        Fault(FaultKind.NAN, "BTC", "1m", opens_ms=(SLOT,)),
        Fault(FaultKind.DUPLICATE, "BTC", "1m", opens_ms=(SLOT,)),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_an_answer_that_is_cut_short_lags_or_holds_bad_rows_accuses_nobody(drill: Drill, fault: Fault) -> None:
    drill.sandbox.faults.add(fault)
    tick(drill)
    tick(drill)
    assert recorded(drill) == []
    assert judged(drill).passed


def test_a_slot_that_never_had_a_row_has_not_vanished(drill: Drill) -> None:
    vanish(drill, drill.clock.now_ms() // MINUTE * MINUTE + MINUTE, kind=FaultKind.LATE)
    for _ in range(4):
        tick(drill)
    assert recorded(drill) == []


def test_what_the_exchange_forgot_by_now_is_no_longer_told(drill: Drill) -> None:
    vanish(drill, SLOT)
    tick(drill)
    with drill.database.connection() as connection:
        now_ms = drill.clock.now_ms()
        kept = health.gather(connection, Interval.M1.deadline(SLOT) - 1, 60.0).vanished
        gone = health.gather(connection, Interval.M1.deadline(SLOT), 60.0).vanished
    assert [(row.open_ms, row.first_absent_ms) for row in kept] == [(SLOT, now_ms)]
    assert gone == []
