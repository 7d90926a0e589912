"""Fencing: of all who work on a series' month in a lane, only the newest claimant writes.

A process that was taken for dead may live on and land an answer hours later. A lock
would have been lost with its connection; a claim in the database is not. It needs no
expiry to be sound, for a claim always takes over. That it is given back, or seen to
have run out, is for people: whoever looks sees who works, and that nothing was left.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from hl_pipeline.model.budget import Lane
from hl_pipeline.model.failure import Superseded
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query

#: A lease says for so long that its holder works; renewed when a third of it has passed.
LENGTH_SECONDS = 300.0

Work = Collection[tuple[int, Span]]


class InForce(NamedTuple):
    """Leases of one holder in one lane that are neither given back nor run out; ``months`` counts series' months."""

    holder: str
    lane: str
    months: int
    claimed_at: datetime
    held_until: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims, in which lane. ``holder`` differs for each claimant: a run that is tried again is another."""

    holder: str
    lane: str

    @property
    def kind(self) -> str:
        """The lane that fences: an urgent gap is a gap."""
        return Lane.GAP if self.lane == Lane.URGENT_GAP else self.lane


def claim(connection: Connection, lease: Lease, work: Work) -> int:
    """Take over the months of each (series id, span); returns on how many of them another stood before.

    Waits for the landing that is under way there.
    """
    row = connection.execute(query("lease_claim"), _values(lease, work, LENGTH_SECONDS)).fetchone()
    return 0 if row is None else int(row[0])


def renew(connection: Connection, lease: Lease, work: Work) -> None:
    """Say that the holder goes on working; what another has claimed since stays his."""
    connection.execute(query("lease_keep"), _values(lease, work, LENGTH_SECONDS))


def release(connection: Connection, lease: Lease, work: Work) -> None:
    """Give back what is still the holder's. The claim goes on fencing against older ones."""
    connection.execute(query("lease_keep"), _values(lease, work, 0.0))


def in_force(connection: Connection) -> list[InForce]:
    """Who works on what at this moment, by the server's clock."""
    return [InForce(*row) for row in connection.execute(query("leases_in_force"))]


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


def _values(lease: Lease, work: Work, seconds: float) -> dict[str, object]:
    return {
        "lane": lease.kind,
        "holder": lease.holder,
        "length": timedelta(seconds=seconds),
        "series_ids": [series_id for series_id, _ in work],
        "starts": [to_datetime(span.start_ms) for _, span in work],
        "ends": [to_datetime(span.end_ms) for _, span in work],
    }
