"""``python -m hl_pipeline_tests.dying_retention POINT URL FOLDER``: one retention that kills itself at a point.

Nothing of this is in the product: the points are reached by wrapping its functions here.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hl_pipeline.collect import retention as engine
from hl_pipeline.storage import parquet_export, retention
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.crashing import after, before
from hl_pipeline_tests.exports import ALL, LATER_MS

POINTS = ("while writing", "after the export", "before the commit", "after a month's commit")


def main() -> None:
    """Arm the point, then drop what is due."""
    point, url, folder = sys.argv[1:]

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "while writing":
        before(parquet_export, "_sha256", kill)
    elif point == "after the export":
        after(engine, "_exported", kill)
    elif point == "before the commit":
        after(retention, "drop", kill)
    elif point == "after a month's commit":
        after(engine, "_drop_month", kill)
    else:
        raise ValueError(f"{point!r} is not one of {POINTS}")
    with Database(url) as database:
        engine.apply(database, ALL, Path(folder), LATER_MS)


if __name__ == "__main__":
    main()
