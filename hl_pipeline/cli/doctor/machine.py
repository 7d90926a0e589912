"""Python, packages, folders, disk, ports and settings: what is wrong before anything is started."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from hl_pipeline.cli.doctor.finding import Finding, fail, ok, warn
from hl_pipeline.cli.supervisor import listens, require_free
from hl_pipeline.collect.host import disk_vitals
from hl_pipeline.health.machinery import DISK_FULL, DISK_LOW
from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.settings import Settings
from hl_pipeline.storage.postgres_home import find_binaries

PYTHONS = ((3, 11), (3, 13))
#: Dagster ends a run after so many minutes (dagster.yaml, max_runtime_seconds).
LONGEST_RUN_MINUTES = 60
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(\s*;)?", re.MULTILINE)
_SHOWN = 5


def on_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """The interpreter is one that is tested."""
    lowest, highest = PYTHONS
    text = f"Python {version[0]}.{version[1]} (3.{lowest[1]} to 3.{highest[1]} are tested)"
    if lowest <= version <= highest:
        return ok("python", text)
    return fail("python", text, "make a new environment with one of these: make clean && make PYTHON=python3.12 up")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def on_packages(lock: Path | None, installed: Callable[[str], str | None] = _installed) -> Finding:
    """What is installed is what the lock names. One with a condition may be missing: it may be for other systems."""
    name = "packages"
    if lock is None:
        return warn(
            name,
            "there is no requirements.lock beside the package, so nobody can tell",
            "install from a checkout: make up",
        )
    versions: dict[str, set[str]] = {}
    for package, version, has_marker in _LOCKED.findall(lock.read_text(encoding="utf-8")):
        versions.setdefault(package, {""} if has_marker else set()).add(version)
    other, missing = [], []
    for package, locked in versions.items():
        found = installed(package) or ""
        if found not in locked:
            listed = " or ".join(sorted(filter(None, locked)))
            other.append(f"{package} {found} (locked: {listed})") if found else missing.append(package)
    if not other and not missing:
        return ok(name, f"all {len(versions)} locked packages are installed in their versions")
    parts = [f"not installed: {_some(missing)}"] * bool(missing) + [f"of other versions: {_some(other)}"] * bool(other)
    step = "python -m pip install --no-deps --require-hashes -r requirements.lock"
    return (fail if missing else warn)(name, "; ".join(parts), step)


def lock_file() -> Path | None:
    """The lock of this installation; null where it was not installed from a checkout."""
    found = Path(__file__).resolve().parents[3] / "requirements.lock"
    return found if found.is_file() else None


def on_folders(settings: Settings) -> list[Finding]:
    """Our folder and Dagster's can be written by this user, and lie on a disk with room."""
    found = []
    for name, folder in (("home", settings.venue_home), ("dagster home", settings.dagster_home)):
        there = next(above for above in (folder, *folder.parents) if above.exists())
        if os.access(there, os.W_OK | os.X_OK):
            found.append(ok(name, f"{folder} can be written"))
        else:
            step = f"give {there} to the user who runs hl, or set HL_HOME to another folder"
            found.append(fail(name, f"{there} cannot be written by this user", step))
    return [*found, on_disk(settings.venue_home)]


def on_disk(folder: Path) -> Finding:
    """There is room, by the bounds of `hl health`: a share and a size must both be passed."""
    disk = disk_vitals(next(above for above in (folder, *folder.parents) if above.exists()))
    share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1.0
    text = f"{disk.free_bytes / 1e9:,.1f} GB ({share:.0%}) of the disk under {disk.folder} are free"
    step = "free some, or set HL_HOME to another disk; `hl retention` says what may go"
    for report, (least_share, least_bytes) in ((fail, DISK_FULL), (warn, DISK_LOW)):
        if share < least_share and disk.free_bytes < least_bytes:
            return report("disk", text, step)
    return ok("disk", text)


def on_settings(settings: Settings) -> list[Finding]:
    """They were judged when they were read; here is what is allowed and still worth a word."""
    found = [
        ok("settings", f"valid; the {settings.venue} exchange, {settings.universe} and {len(settings.markets)} markets")
    ]
    if settings.backfill_max_minutes >= LONGEST_RUN_MINUTES:
        text = f"HL_BACKFILL_MAX_MINUTES is {settings.backfill_max_minutes}, and Dagster ends a run after an hour"
        found.append(
            warn("limits", text, f"set it below {LONGEST_RUN_MINUTES}, or raise max_runtime_seconds in dagster.yaml")
        )
    else:
        text = f"a run may take an hour and hold {settings.run_memory_mb:,} MB"
        found.append(ok("limits", text))
    return [*found, on_channels(settings), on_interface(settings)]


def on_channels(settings: Settings) -> Finding:
    """Somebody is told."""
    if settings.alert_urls:
        return ok("alert channels", f"{len(settings.alert_urls)} in HL_ALERT_URLS; `hl alerts test` tries them")
    return warn(
        "alert channels",
        "HL_ALERT_URLS is not set: alerts go to the daemon's log alone",
        "set it, then `hl alerts test`",
    )


def on_interface(settings: Settings) -> Finding:
    """Beyond loopback it asks for a password (the settings refuse it otherwise), which travels in clear without TLS."""
    where = f"the web interface listens on {settings.ui_host}:{settings.ui_port}"
    if settings.ui_password is None:
        return ok("interface", f"{where}, for this machine alone")
    if settings.ui_host in {"127.0.0.1", "::1"}:
        return ok("interface", f"{where}, with a password")
    return warn("interface", f"{where}, with a password that travels in clear", "put TLS in front: docs/deployment.md")


def on_ports(settings: Settings) -> list[Finding]:
    """The ports are free, or ours."""
    wanted = [("web interface port", settings.ui_port, "HL_UI_PORT")]
    wanted += [("viewers' port", settings.viewer_port, "HL_VIEWER_PORT")] if settings.viewer_port else []
    return [_on_port(name, port, variable) for name, port, variable in wanted]


def _on_port(name: str, port: int, variable: str) -> Finding:
    if listens(port):
        if _is_ours(port):
            return ok(name, f"{port}: an `hl up` answers there")
        return fail(name, f"{port}: another program listens there", f"stop it, or choose another port in {variable}")
    try:
        require_free(port, "the web interface", variable)
    except NeedsAPerson as error:
        return fail(name, str(error), f"choose another port in {variable}")
    return ok(name, f"{port} is free")


def _is_ours(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy
    try:
        with opener.open(f"http://127.0.0.1:{port}/livez", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def on_postgres_programs(settings: Settings) -> list[Finding]:
    """The embedded server's programs can be started here; not asked where the server is one's own."""
    if settings.database_url is not None:
        return []
    try:
        binaries = find_binaries()
        return [ok("embedded postgres", f"version {binaries.major()}, its programs start here")]
    except NeedsAPerson as error:
        return [fail("embedded postgres", str(error), "what the line says")]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
