from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_pipeline.collect import host


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"only root may mount a file system: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_has_no_room(small_disk: Path) -> None:
    before = host.disk_vitals(small_disk)
    assert before.total_bytes == 1024 * 1024
    assert before.free_bytes == before.total_bytes
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "full").write_bytes(bytes(2 * 1024 * 1024))
    after = host.disk_vitals(small_disk)
    assert after.free_bytes == 0
    assert after.free_files < before.free_files < 1


def test_a_file_system_is_told_once_and_a_folder_that_is_not_there_yet_is_its_parent(tmp_path: Path) -> None:
    found = host.host_vitals([tmp_path / "not" / "yet", tmp_path])
    assert [disk.folder for disk in found.disks] == [str(tmp_path)]
    assert found.disks[0].total_bytes > found.disks[0].free_bytes > 0


def test_the_memory_is_this_process_s_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = host.memory_bytes()
    held = bytearray(os.urandom(1)) * 60_000_000
    assert host.memory_bytes() - before > 50_000_000
    assert len(held) == 60_000_000
    monkeypatch.setattr(host, "_STATM", tmp_path / "nothing")
    assert host.memory_bytes() > 50_000_000
