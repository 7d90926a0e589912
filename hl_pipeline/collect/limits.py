"""How much memory a run may hold: looked at between two answers, never enforced in the middle of one.

The kernel's own limit would kill a process at any instruction. Here a run that grew too large stores what it has and
ends with an error that says why; what it did not ask for is as due as before, and the next run, a new process, goes on.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hl_pipeline.collect.fill import FillReport
from hl_pipeline.collect.stream_writer import memory_bytes
from hl_pipeline.model.failure import MemoryLimitReached

MEGABYTE = 1_000_000


class ProcessUse(NamedTuple):
    """What this process took since it began: the most memory it ever held, seconds of processor time."""

    peak_memory_mb: float
    cpu_seconds: float


def process_use() -> ProcessUse:
    """As the system says it now."""
    times = os.times()
    return ProcessUse(_peak_bytes() / MEGABYTE, times.user + times.system)


def within_memory(most_mb: int, measure: Callable[[], int] = memory_bytes) -> Callable[[FillReport], None]:
    """A fill's ``on_progress`` that ends the fill once the process holds more than ``most_mb``.

    It looks after an answer has landed, so that each run gets somewhere, however small the limit; requests that are
    under way then land, too. 1 MB is 1,000,000 bytes.

    Raises:
        MemoryLimitReached: by what is returned.
    """

    def check(report: FillReport) -> None:
        held_mb = measure() // MEGABYTE
        if held_mb > most_mb:
            raise MemoryLimitReached(
                f"this run holds {held_mb:,} MB of memory and may hold {most_mb:,} (HL_RUN_MEMORY_MB); it ended after "
                f"{report.landed} of {report.planned} answers, which are stored. The next run goes on with the rest; "
                "if it ends so each time, raise HL_RUN_MEMORY_MB, or ask for less at once: HL_CONCURRENCY, fewer months"
            )

    return check


def _peak_bytes() -> int:
    """The most this program ever held. (``ru_maxrss`` would count what the parent held when it started this one.)"""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
