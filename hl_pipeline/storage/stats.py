"""What came of the last 24 hours, and the gaps of that time from found to healed: hl.pipeline_stats_24h."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from hl_pipeline.model.interval import WINDOW_SLOTS, to_datetime
from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class PipelineStats(NamedTuple):
    """The 24 hours from ``since_ms`` to ``until_ms`` (ms UTC, market time), counted from the tables.

    ``points`` are rows in landed answers and from the stream; ``weight`` is what ``api_calls`` cost, ``errors`` how
    many of them failed. A gap is ``healed`` when all its slots are filled or proven empty; means are in seconds, null
    where there was none. Shares are 0 to 1, null before the first health report: ``watched_share`` of the minutes has
    a report, that of ``uptime_share`` says healthy or degraded.
    """

    since_ms: int
    until_ms: int
    points: int
    api_calls: int
    weight: int
    errors: int
    answers_429: int
    rejected_rows: int
    revisions: int
    gaps_found: int
    gaps_healed: int
    gaps_lost: int
    gaps_open: int
    seconds_to_detect: float | None
    seconds_to_repair: float | None
    alerts_raised: int
    alerts_resolved: int
    reports: int
    mean_score: float | None
    watched_share: float | None
    uptime_share: float | None


class Followed(NamedTuple):
    """Gaps that a look found, and those that it found closed."""

    found: int
    closed: int


def pipeline_stats(connection: Connection) -> PipelineStats:
    """The last 24 hours, by now. Reads only."""
    row = connection.execute(query("pipeline_stats")).fetchone()
    assert row is not None  # noqa: S101  # the view is one row
    return PipelineStats(*row)


def follow_gaps(connection: Connection, now_ms: int, *, settle_ms: int, period_ms: int) -> Followed:
    """Enter the gaps that are new since the last look into hl.gap_episode, and close those that are settled.

    A slot counts as missing when it waited for two periods after it was due at ``now_ms`` (ms UTC). Does nothing
    while another session is at it; holds others off until the commit.
    """
    parameters = {
        "now": to_datetime(now_ms),
        "settle": timedelta(milliseconds=settle_ms),
        "grace": timedelta(milliseconds=2 * period_ms),
        "window_slots": WINDOW_SLOTS,
    }
    mine = connection.execute(query("gap_episodes_lock")).fetchone()
    if mine is None or not mine[0]:
        return Followed(0, 0)
    row = connection.execute(query("gap_episodes_follow"), parameters).fetchone()
    assert row is not None  # noqa: S101  # two counts are one row
    return Followed(*row)
