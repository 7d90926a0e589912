"""What we promised ourselves is not kept: service levels, speed, memory, room, what is due to be dropped."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.stage import Stage
from hl_pipeline.health.machinery import MEMORY_MOST_BYTES
from hl_pipeline.model.interval import MINUTE_MS, to_datetime
from hl_pipeline.model.regression import RECENT_RUNS
from hl_pipeline.sandbox.faults import Fault, FaultKind

THEME = "promises"
_DRY = {"ops": {"retention": {"config": {"dry_run": True}}}}
#: Six of ten newest runs decide their median.
_SLOW_RUNS = 6
#: So many tell what is usual, and are the others among the ten.
_FEW_RUNS = 4
_RUN = b"""
    insert into hl.performance_history (
        run_id, lane, started_at, asked_from, succeeded, seconds, requests, failed, refused, weight, candles, p50_ms,
        p99_ms, peak_memory_mb, cpu_seconds
    )
    select
        'told ' || number, 'live', %(at)s::timestamptz - number * interval '1 minute', clock_timestamp(), true, 1,
        1000, %(failed)s, 0, 21000, 100000, 20 + number %% 5, 40 + number %% 7, 300, 1
    from generate_series(1, %(runs)s) as number
"""
#: Forty runs as the few that were measured here, scattered by a third: how fast this machine is now is no trouble.
_AS_USUAL = b"""
    with usual as (
        select
            percentile_cont(0.5) within group (order by seconds) as seconds,
            percentile_cont(0.5) within group (order by candles) as candles,
            percentile_cont(0.5) within group (order by p50_ms) as p50_ms,
            percentile_cont(0.5) within group (order by p99_ms) as p99_ms,
            percentile_cont(0.5) within group (order by peak_memory_mb) as peak_memory_mb,
            percentile_cont(0.5) within group (order by cpu_seconds) as cpu_seconds
        from hl.performance_history
        where lane = 'live' and succeeded and requests > 0
    )
    insert into hl.performance_history (
        run_id, lane, started_at, asked_from, succeeded, seconds, requests, failed, refused, weight, candles, p50_ms,
        p99_ms, peak_memory_mb, cpu_seconds
    )
    select
        'told ' || number, 'live', %(at)s::timestamptz - number * interval '1 minute', clock_timestamp(), true,
        scatter * seconds, 1000, 0, 0, 21000, candles, scatter * p50_ms, scatter * p99_ms, scatter * peak_memory_mb,
        scatter * cpu_seconds
    from usual cross join generate_series(10, 49) as number
    cross join lateral (select 0.67 + 0.165 * (number %% 5) as scatter) as scattered
"""


def promise_broken(stage: Stage) -> Generator[None]:
    """A run of nearly seven days ago had a fifth of its requests fail, and is all that is known of the week."""
    stage.jobs, stage.drains = ["measure_service_levels"], False
    week_ago = to_datetime(stage.now_ms) - timedelta(days=7)
    # the rest of the week is as it should be, however busy this machine is
    stage.sabotage(b"delete from hl.performance_history", b"update hl.fetch set latency_ms = least(latency_ms, 100)")
    stage.sabotage(_RUN, at=week_ago + timedelta(minutes=7), failed=200, runs=1)
    yield
    stage.clock.advance(5 * MINUTE_MS)


def slower(stage: Stage) -> Generator[None]:
    """After forty runs as usual, six meet an exchange that takes half a second to answer; ten are well again."""
    stage.jobs, stage.drains = ["measure_service_levels"], False
    stage.sabotage(b"delete from hl.performance_history")
    _collects(stage, _FEW_RUNS)
    stage.sabotage(_AS_USUAL, at=to_datetime(stage.now_ms))
    stage.exchange.faults.add(Fault(FaultKind.LATENCY, amount=500))
    _collects(stage, _SLOW_RUNS)
    yield
    stage.exchange.faults.clear()
    _collects(stage, RECENT_RUNS)


def due_and_kept(stage: Stage) -> Generator[None]:
    """Retention only looks: its job runs with `dry_run`. A line of the health log is 200 days old."""
    stage.jobs = []
    stage.sabotage(
        b"insert into hl.system_health_log (logged_at, status, score, report) values (%(at)s, 'healthy', 100, '{}')",
        at=to_datetime(stage.now_ms) - timedelta(days=200),
    )
    assert stage.run("apply_retention", config=_DRY).success, stage.said
    yield
    assert stage.run("apply_retention").success, stage.said


def disk_low(stage: Stage) -> Generator[None]:
    """The disk is filled until 2 % of it are left; a person makes room."""
    stage.jobs = ["health"]
    filler = stage.ground.home / "filler"
    fill(filler, left_share=0.02)
    yield
    filler.unlink()


def memory_held(stage: Stage) -> Generator[None]:
    """The process that judges holds two gigabytes more than it needs."""
    stage.jobs, stage.drains = ["health"], False
    held = bytearray(MEMORY_MOST_BYTES)
    held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(held[:: os.sysconf("SC_PAGE_SIZE")])
    yield
    held.clear()


def fill(path: Path, *, left_share: float) -> None:
    """Takes all that is free but this share of the whole disk."""
    with path.open("wb") as file:
        disk = os.statvfs(path.parent)
        wanted = disk.f_bavail * disk.f_frsize - round(left_share * disk.f_blocks * disk.f_frsize)
        os.posix_fallocate(file.fileno(), 0, max(wanted, 1))


def _collects(stage: Stage, runs: int) -> None:
    for _ in range(runs):
        stage.clock.advance(MINUTE_MS)
        assert stage.run("collect").success, stage.said


TROUBLES = (
    Trouble(
        "a promise is broken", "a run of nearly seven days ago had a fifth of its requests fail", THEME, promise_broken,
        rules=("check_failed",), checks=("service_levels/service_levels_met",), says="200 of 1,000",
        healing="by itself, as the bad time leaves the window of seven days",
    ),
    Trouble(
        "runs get slower", "after forty runs as usual, six meet answers that take half a second", THEME, slower,
        rules=("check_failed",), checks=("service_levels/performance_has_not_regressed",), says="p99",
        healing="by itself, when the newest runs are as before",
    ),
    Trouble(
        "what is due stays", "the job apply_retention runs with dry_run, and a line of a log is 200 days old", THEME,
        due_and_kept, rules=("check_failed",), checks=("retention/nothing_due_is_left",),
        healing="the job apply_retention, without dry_run",
    ),
    Trouble(
        "the disk fills up", "2 % of the disk are left", THEME, disk_low, needs_disk=True,
        rules=("check_failed",), checks=("system_health/disk_has_room",), health=("disk_has_room",), exit_code=1,
        healing="room is made",
    ),
    Trouble(
        "a process grows", "the process that judges holds 2,048 MB more than it needs", THEME, memory_held,
        rules=("check_failed",), checks=("system_health/memory_bounded",), healing="the process is started again",
    ),
)  # fmt: skip
