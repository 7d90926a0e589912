"""What a call costs: seconds on the clock, and seconds of processor time in this process and its Postgres server.

On a machine that others use too the clock measures the others as well; the processor time does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Seconds: on the clock, and of processor time."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures calls that work on the server whose postmaster is the process ``postmaster``."""

    postmaster: int

    def measure(self, call: Callable[[], None]) -> Cost:
        """Run ``call`` once."""
        children, reaped, own, started = self._children(), self._reaped(), time.process_time(), time.perf_counter()
        call()
        wall = time.perf_counter() - started
        server = sum(after - children.get(pid, 0.0) for pid, after in self._children().items())
        return Cost(wall, time.process_time() - own + server + self._reaped() - reaped)

    def _children(self) -> dict[int, float]:
        """Processor seconds of every process of the server that lives, to the nanosecond."""
        tasks = _PROC / str(self.postmaster) / "task" / str(self.postmaster) / "children"
        found: dict[int, float] = {}
        for pid in map(int, tasks.read_text().split()):
            try:
                found[pid] = int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended just now, and is counted among the reaped
        return found

    def _reaped(self) -> float:
        """Processor seconds of the server's processes that have ended, to a hundredth."""
        fields = (_PROC / str(self.postmaster) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS
