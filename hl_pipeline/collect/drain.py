"""Work off the queue of older gaps: those about to be forgotten first, in a lane that outranks the live edge.

The tick at the live edge leaves these slots alone, so that it stays short
after an outage. Two drains at once would ask the same; who starts them sees to
it that one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hl_pipeline.collect.fill import CandleSource, FillPolicy, FillReport, Progress, fill
from hl_pipeline.model.budget import Lane
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.gap_queue import in_order, lane_of, queued_slots
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.plan import PlannedRequest, plan
from hl_pipeline.storage import gaps, series
from hl_pipeline.storage.engine import Database

#: Requests of one drain at most: a few minutes of the gap lane, so that the next one sees what has changed.
MOST_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class DueQueue:
    """What a drain would ask for now: requests in their order, and how many slots they are for."""

    requests: Sequence[PlannedRequest]

    @property
    def slots(self) -> int:
        """Slots that are due."""
        return sum(planned.wanted for planned in self.requests)

    @property
    def deadline_ms(self) -> int | None:
        """When the first of them is forgotten (ms UTC); null when nothing is due."""
        return self.requests[0].deadline_ms if self.requests else None


def due_queue(
    database: Database,
    now_ms: int,
    proof: ProofPolicy,
    *,
    coins: Collection[str] | None = None,
    intervals: Collection[Interval] | None = None,
) -> DueQueue:
    """The older gaps whose next try has come, of every tracked series or of the named ones."""
    with database.connection() as connection:
        states = series.load(connection, coins=coins, intervals=intervals)
        volumes = gaps.day_volumes(connection)
    return DueQueue(in_order(plan(states, now_ms, proof, only=queued_slots), volumes))


def drain(
    source: CandleSource,
    database: Database,
    clock: Clock,
    policy: FillPolicy,
    *,
    most_requests: int = MOST_REQUESTS,
    coins: Collection[str] | None = None,
    intervals: Collection[Interval] | None = None,
    run_id: str | None = None,
    on_progress: Progress | None = None,
) -> FillReport:
    """Ask for the older gaps that are due, at most ``most_requests`` times; what is left stays in the queue.

    Those under twelve hours from their deadline go first, in the urgent lane.

    Raises:
        DatabaseUnavailable: what was landed stays; run it again.
        ValueError: ``most_requests`` is not positive.
    """
    if most_requests < 1:
        raise ValueError(f"most_requests = {most_requests}: a drain asks at least once")
    with database.connection() as connection:
        volumes = gaps.day_volumes(connection)
    found = FillReport()
    for lane in (Lane.URGENT_GAP, Lane.GAP):
        if found.planned >= most_requests or found.skipped:
            break
        report = fill(
            source,
            database,
            clock,
            replace(policy, lane=str(lane)),
            coins=coins,
            intervals=intervals,
            only=queued_slots,
            choose=_share_of(lane, clock.now_ms(), volumes, most_requests - found.planned),
            run_id=run_id,
            on_progress=on_progress,
        )
        found += report
    return found


def _share_of(
    lane: Lane, now_ms: int, volumes: Mapping[str, float], most: int
) -> Callable[[Sequence[PlannedRequest]], list[PlannedRequest]]:
    """Chooses the lane's requests in their order, ``most`` over all the times it is asked."""
    left = most

    def choose(planned: Sequence[PlannedRequest]) -> list[PlannedRequest]:
        nonlocal left
        chosen = in_order((request for request in planned if lane_of(request, now_ms) is lane), volumes)[:left]
        left -= len(chosen)
        return chosen

    return choose
