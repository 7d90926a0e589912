"""This machine and this process, as the health report needs them. Reads only; asks nobody else."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from hl_pipeline.model.vitals import DiskVitals, HostVitals

_STATM = Path("/proc/self/statm")


def host_vitals(folders: Iterable[Path]) -> HostVitals:
    """The disks under ``folders``, each file system once, and how much memory this process holds in bytes.

    A folder that is not there yet stands for the nearest one above it.
    """
    disks: dict[int, DiskVitals] = {}
    for folder in folders:
        there = next(above for above in (folder, *folder.parents) if above.exists())
        disks.setdefault(there.stat().st_dev, disk_vitals(there))
    return HostVitals(tuple(disks.values()), memory_bytes())


def disk_vitals(folder: Path) -> DiskVitals:
    """The file system of a folder that exists."""
    found = os.statvfs(folder)
    free_files = found.f_favail / found.f_files if found.f_files else 1.0  # some file systems do not count files
    return DiskVitals(str(folder), found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, free_files)


def memory_bytes() -> int:
    """Resident memory of this process; where /proc does not tell, the most it ever had."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
