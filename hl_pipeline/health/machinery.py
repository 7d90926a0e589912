"""Verdicts on what the pipeline runs on (Dagster, this machine, the schema, the channels) and on trust in its data."""

from __future__ import annotations

from collections.abc import Iterable

from hl_pipeline.health.status import Status, Verdict, with_step, worst
from hl_pipeline.model.open_gap import time_left
from hl_pipeline.model.vitals import DagsterVitals, DiskVitals, UnfinishedRuns, Vitals

#: Dagster's daemon speaks every 30 s; its own liveness check waits for half an hour.
DAEMON_SILENT_S = 90.0
#: A thread of it may be held up by one slow sensor.
THREAD_SILENT_S = 300.0
#: Without these threads nothing is started; another one that is silent may be of an older configuration.
THREADS = ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR")
#: Without these the pipeline stands still, blind or mute.
ESSENTIAL = frozenset(
    {
        "collect_each_minute",
        "refresh_markets_hourly",
        "health_each_minute",
        "restart_stalled_collection",
        "drain_open_gaps",
        "alert_on_failed_runs",
        "deliver_alerts",
    }
)
#: For how long a run may be in a state, in seconds; Dagster ends one after an hour (dagster.yaml) if it can.
LONGEST_S = {"NOT_STARTED": 300.0, "STARTING": 300.0, "STARTED": 3_900.0, "CANCELING": 300.0}
QUEUED_TOO_LONG_S = 900.0
DISK_LOW = (0.10, 5_000_000_000)
DISK_FULL = (0.03, 500_000_000)
FILES_LOW, FILES_FULL = 0.05, 0.01
MEMORY_MOST_BYTES = 2_048_000_000
HIGH_CONFIDENCE_TARGET = 0.95
MEAN_CONFIDENCE_ALARM = 0.30
DELIVERED_TARGET = 0.90
#: Fewer attempts than this make no rate.
ATTEMPTS_ENOUGH = 10


def on_daemon(v: Vitals) -> Verdict:
    """Dagster's daemon lives: all that starts runs and sends alerts hangs on it."""
    name, found = "daemon_alive", v.dagster
    if found is None:
        return Verdict(name, Status.HEALTHY, f"not judged: {v.no_dagster}", {"threads": 0})
    if not found.silent_s:
        status = Status.DEGRADED if found.switched_on else Status.HEALTHY
        text = f"Dagster's daemon never ran here, and {len(found.switched_on)} schedules and sensors are on"
        todo = "run `hl up`; if it runs, read daemon.log among its logs"
        return Verdict(name, status, with_step(text, todo, status), {"threads": 0})
    newest_s = min(found.silent_s.values())
    thread, silent_s = max(
        ((thread, found.silent_s[thread]) for thread in THREADS if thread in found.silent_s),
        key=lambda one: one[1],
        default=("none", 0.0),
    )
    status = worst(
        Status.UNHEALTHY if newest_s > DAEMON_SILENT_S or silent_s > THREAD_SILENT_S else None,
        Status.DEGRADED if silent_s > DAEMON_SILENT_S or found.ailing else None,
    )
    text = (
        f"Dagster's daemon last spoke {_seconds(newest_s)} ago (bound {DAEMON_SILENT_S:.0f} s), its slowest thread "
        f"that is needed, {thread}, {_seconds(silent_s)} ago (bound {THREAD_SILENT_S:.0f} s)"
    )
    if found.ailing:
        text += f"; errors in {', '.join(found.ailing)}"
    todo = "does `hl up` run? daemon.log among its logs says why it ended; until it is back nothing is started or told"
    numbers: dict[str, float | int | str | None] = {
        "silent_s": newest_s,
        "slowest_silent_s": silent_s,
        "slowest_thread": thread,
        "threads": len(found.silent_s),
        "ailing": len(found.ailing),
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def on_runs(v: Vitals) -> Verdict:
    """Runs start, and end well: none waits or hangs for long, and no job's newest one failed."""
    name, found = "runs_finish", v.dagster
    if found is None:
        return Verdict(name, Status.HEALTHY, f"not judged: {v.no_dagster}", {"queued": 0})
    stuck = [run for run in found.unfinished if run.longest_s > LONGEST_S.get(run.state, float("inf"))]
    queued = [run for run in found.unfinished if run.state == "QUEUED"]
    waits_s = max((run.longest_s for run in queued), default=0.0)
    status = Status.DEGRADED if stuck or waits_s > QUEUED_TOO_LONG_S or found.failing else Status.HEALTHY
    text = (
        f"{_count(queued)} runs wait, the longest for {_seconds(waits_s)} (bound {QUEUED_TOO_LONG_S:.0f} s); "
        f"{_count(found.unfinished) - _count(queued)} are under way, {_count(stuck)} of them for too long"
        f"{_named(stuck)}; {found.failed} failed in 24 h"
    )
    if found.failing:
        text += f"; the newest run failed of {', '.join(found.failing)}"
    todo = (
        "open the run in the Dagster UI: its log says why; terminate one that hangs (a start of `hl up` ends those a "
        "crash left), and the next tick plans anew from the ledger"
    )
    numbers: dict[str, float | int | str | None] = {
        "queued": _count(queued),
        "queued_longest_s": waits_s,
        "under_way": _count(found.unfinished) - _count(queued),
        "stuck": _count(stuck),
        "failed_24h": found.failed,
        "failing_jobs": len(found.failing),
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def on_automation(v: Vitals) -> Verdict:
    """The schedules and sensors without which the pipeline stands still, blind or mute are on."""
    name, found = "automation_on", v.dagster
    if found is None:
        return Verdict(name, Status.HEALTHY, f"not judged: {v.no_dagster}", {"on": 0})
    off = sorted(ESSENTIAL - found.switched_on)
    status = Status.DEGRADED if off else Status.HEALTHY
    text = f"{len(ESSENTIAL) - len(off)} of {len(ESSENTIAL)} schedules and sensors that are needed are on"
    text += f"; off: {', '.join(off)}" if off else ""
    todo = "`hl start NAME`, or turn them on under Automation in the Dagster UI"
    numbers: dict[str, float | int | str | None] = {
        "on": len(ESSENTIAL) - len(off),
        "needed": len(ESSENTIAL),
        "all_on": len(found.switched_on),
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def share_on(found: DagsterVitals) -> float:
    """The share of the needed schedules and sensors that are on, 0 to 1."""
    return len(ESSENTIAL & found.switched_on) / len(ESSENTIAL)


def on_disk(v: Vitals) -> Verdict:
    """The disks under our folder and Dagster's have room. A share and a size must both be passed: disks differ."""
    disks = v.host.disks if v.host is not None else ()
    standing = [(_disk_status(disk), disk) for disk in disks]
    status = worst(*(found for found, _ in standing))
    tightest = min(disks, key=lambda disk: disk.free_bytes, default=None)
    text = "; ".join(
        f"{disk.free_bytes / 1e9:,.1f} of {disk.total_bytes / 1e9:,.1f} GB are free under {disk.folder} "
        f"(bound {min(DISK_LOW[0] * disk.total_bytes, DISK_LOW[1]) / 1e9:,.1f}), {disk.free_files:.0%} of its files"
        for disk in disks
    )
    todo = (
        "free some: `du` under the folder says what takes it; Postgres stops writing when nothing is left, and what is "
        "stored stays"
    )
    numbers: dict[str, float | int | str | None] = (
        {}
        if tightest is None
        else {
            "free_bytes": tightest.free_bytes,
            "total_bytes": tightest.total_bytes,
            "free_share": round(tightest.free_bytes / max(tightest.total_bytes, 1), 4),
            "free_files_share": round(tightest.free_files, 4),
        }
    )
    return Verdict("disk_has_room", status, with_step(text, todo, status), numbers)


def on_memory(v: Vitals) -> Verdict:
    """The process that made this report holds no more memory than the limit."""
    held = v.host.memory_bytes if v.host is not None else 0
    status = Status.DEGRADED if held > MEMORY_MOST_BYTES else Status.HEALTHY
    text = f"this process holds {held / 1e6:,.0f} MB (bound {MEMORY_MOST_BYTES / 1e6:,.0f})"
    todo = "restart it (`hl up` does so by itself when it ends), and report it: nothing of ours should grow so large"
    return Verdict("memory_bounded", status, with_step(text, todo, status), {"memory_mb": round(held / 1e6, 1)})


def on_schema(migrations: int) -> Verdict:
    """The database has this version's schema; on another the report ends here, so it is only ever good news."""
    text = f"all {migrations} migrations are applied, and functions and views are this version's"
    return Verdict("schema_current", Status.HEALTHY, text, {"migrations": migrations})


def on_trust(v: Vitals) -> Verdict:
    """Most of what readers see can be trusted."""
    name, found = "data_trusted", v.trust
    if found is None or found.mean_confidence is None:
        return Verdict(name, Status.HEALTHY, "nothing is scored yet: the first collection does it", {"series": 0})
    rate = found.high_confidence_rate
    status = worst(
        Status.UNHEALTHY if found.mean_confidence < MEAN_CONFIDENCE_ALARM else None,
        Status.DEGRADED if rate is not None and rate < HIGH_CONFIDENCE_TARGET else None,
    )
    said = "no latest metric yet" if rate is None else f"{rate:.1%} of {found.metrics:,} latest metrics"
    text = (
        f"the mean confidence of {found.series:,} series is {found.mean_confidence:.2f} (bound "
        f"{MEAN_CONFIDENCE_ALARM:.2f}); {said} have a confidence of .75 or more (bound {HIGH_CONFIDENCE_TARGET:.0%})"
    )
    todo = "`hl confidence` names the weakest component of each series and why"
    numbers: dict[str, float | int | str | None] = {
        "series": found.series,
        "mean_confidence": found.mean_confidence,
        "metrics": found.metrics,
        "high_confidence_rate": rate,
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def on_delivery(v: Vitals) -> Verdict:
    """Who is to be told is told: no notice waits for its channel, and most attempts are taken."""
    name, found = "alerts_delivered", v.delivery
    if found is None or not found.notices:
        return Verdict(name, Status.HEALTHY, "no notice was made in 24 hours", {"notices": 0})
    rate = found.sent / found.attempts if found.attempts else None
    poor = rate is not None and found.attempts >= ATTEMPTS_ENOUGH and rate < DELIVERED_TARGET
    status = Status.DEGRADED if found.late or poor else Status.HEALTHY
    text = (
        f"{found.sent:,} of {found.notices:,} notices of 24 h were sent, in {found.attempts:,} attempts"
        f"{'' if rate is None else f' ({rate:.0%}, bound {DELIVERED_TARGET:.0%})'}; {found.waiting:,} wait"
        f"{f' on {len(found.late)} channels for over five minutes' if found.late else ''}"
    )
    todo = "`hl alerts list` says which channel does not take its notices and why; `hl alerts test` tries each"
    numbers: dict[str, float | int | str | None] = {
        "notices": found.notices,
        "sent": found.sent,
        "attempts": found.attempts,
        "success_rate": rate,
        "waiting": found.waiting,
        "longest_wait_s": found.longest_wait_s,
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def _disk_status(disk: DiskVitals) -> Status:
    def is_below(bound: tuple[float, int]) -> bool:
        share, free_bytes = bound
        return disk.free_bytes < min(share * disk.total_bytes, free_bytes)

    if is_below(DISK_FULL) or disk.free_files < FILES_FULL:
        return Status.UNHEALTHY
    return Status.DEGRADED if is_below(DISK_LOW) or disk.free_files < FILES_LOW else Status.HEALTHY


def _count(runs: Iterable[UnfinishedRuns]) -> int:
    return sum(run.runs for run in runs)


def _named(stuck: list[UnfinishedRuns]) -> str:
    return f" ({', '.join(f'{run.job} {run.state.lower()}' for run in stuck)})" if stuck else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else time_left(round(1000 * seconds))
