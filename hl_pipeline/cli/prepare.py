"""Makes the Dagster home ready and turns new schedules and sensors on: ``python -m hl_pipeline.cli.prepare``.

A process of its own, because importing Dagster takes a hundred megabytes that the supervisor would hold for as long
as it runs. It also makes Dagster's tables before three processes at once would try to. What Dagster's processes need
in their environment comes back as JSON on stdout; it holds the database's password, so it goes through a pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings


def prepare(settings: Settings) -> dict[str, str]:
    """Do it here: make the home, the tables and the switches; returns the environment for Dagster's processes.

    What somebody switched off (`hl stop`, or in the web interface) stays off.
    """
    from hl_pipeline.defs import launch

    with open_database(settings) as database:
        needed = launch.environment(settings, database)
    os.environ.update(needed)
    launch.end_lost_runs()
    launch.set_automation(True, undecided_only=True)
    return needed


def prepare_elsewhere(environ: Mapping[str, str]) -> dict[str, str]:
    """Do it in a process of its own that sees ``environ`` on top of ours.

    Raises:
        NeedsAPerson: it failed; its last line is in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", "hl_pipeline.cli.prepare"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NeedsAPerson(f"Dagster's home could not be prepared: {done.stderr.strip()[-1000:]}")
    made: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return made


if __name__ == "__main__":
    print(json.dumps(prepare(Settings.load())))
