"""Have dead letters asked for again, and work off what that makes due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hl_pipeline.collect.fill import CandleSource, FillPolicy, FillReport, fill
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.dead_letter import DeadLetter, FailureKind, Outcome, dead_slots
from hl_pipeline.storage import dead_letters
from hl_pipeline.storage.engine import Database


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What became of the letters that were retried, and what asking for them cost."""

    letters: Sequence[DeadLetter]
    fill: FillReport

    def count(self, outcome: Outcome) -> int:
        """How many of them stand so now."""
        return sum(letter.outcome is outcome for letter in self.letters)


def retry_and_drain(
    source: CandleSource,
    database: Database,
    clock: Clock,
    policy: FillPolicy,
    *,
    kind: FailureKind | None = None,
    run_id: str | None = None,
) -> RetryReport:
    """Ask once more for every open dead letter, or those of a ``kind``, in the gap lane.

    What fails again is laid aside again; what the weight of the minute does not
    suffice for stays due, and the next collection asks for it.

    Raises:
        DatabaseUnavailable: what was landed stays; run it again.
    """
    with database.connection() as connection:
        open_before = dead_letters.letters(connection, kind=kind, only_open=True)
        dead_letters.retry(connection, clock.now_ms(), kind=kind)
    report = FillReport()
    if open_before:
        in_gap_lane = replace(policy, lane=str(Lane.GAP))
        report = fill(source, database, clock, in_gap_lane, only=dead_slots, run_id=run_id)
    with database.connection() as connection:
        numbers = [letter.number for letter in open_before]
        return RetryReport(dead_letters.letters(connection, numbers=numbers), report)
