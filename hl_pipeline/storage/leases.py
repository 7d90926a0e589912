"""Fencing: of all who work on a series' month in a lane, only the newest claimant writes.

A process that was taken for dead may live on and land an answer hours later. A lock
would have been lost with its connection; a claim in the database is not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hl_pipeline.model.budget import Lane
from hl_pipeline.model.failure import Superseded
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims, in which lane. ``holder`` differs for each claimant: a run that is tried again is another."""

    holder: str
    lane: str

    @property
    def kind(self) -> str:
        """The lane that fences: an urgent gap is a gap."""
        return Lane.GAP if self.lane == Lane.URGENT_GAP else self.lane


def claim(connection: Connection, lease: Lease, work: Collection[tuple[int, Span]]) -> int:
    """Take over the months of each (series id, span); returns on how many of them another stood before.

    Waits for the landing that is under way there.
    """
    row = connection.execute(
        query("lease_claim"),
        {
            "lane": lease.kind,
            "holder": lease.holder,
            "series_ids": [series_id for series_id, _ in work],
            "starts": [to_datetime(span.start_ms) for _, span in work],
            "ends": [to_datetime(span.end_ms) for _, span in work],
        },
    ).fetchone()
    return 0 if row is None else int(row[0])


def hold(connection: Connection, lease: Lease, series_id: int, span: Span) -> None:
    """Keep the claim on the span's months until the transaction ends.

    Raises:
        Superseded: somebody else has claimed one of them since; write nothing.
    """
    rows = connection.execute(
        query("lease_hold"),
        {
            "series_id": series_id,
            "lane": lease.kind,
            "starts": to_datetime(span.start_ms),
            "ends": to_datetime(span.end_ms),
        },
    )
    for month, holder, epoch in rows:
        if holder != lease.holder:
            raise Superseded(
                f"{month:%Y-%m} of series {series_id} was taken over by {holder} (epoch {epoch}): "
                "its answers count, this one is refused and nothing is lost"
            )
