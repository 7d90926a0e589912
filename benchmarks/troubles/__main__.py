"""``python -m benchmarks.troubles``: at least 25 troubles, each injected, seen, healed, and seen to be over.

``--only`` plays those whose name holds the word; ``--markdown`` writes the page. Exit code 1 when one was not seen
everywhere it should be, or did not end.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from pathlib import Path

from benchmarks.troubles.drill import Outcome, play
from benchmarks.troubles.everything import TROUBLES
from benchmarks.troubles.ground import open_ground
from benchmarks.troubles.page import markdown, show


def main() -> int:
    """Play them, print each, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="those whose name or theme holds this")
    parser.add_argument("--markdown", type=Path, help="write the page of this run here")
    given = parser.parse_args()
    logging.getLogger("hl_pipeline.alerts").setLevel(logging.CRITICAL)  # every alert is looked at below
    chosen = [trouble for trouble in TROUBLES if given.only in f"{trouble.theme} {trouble.name}"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind: no server, no disk
    began, outcomes = time.monotonic(), list[Outcome]()
    with open_ground() as ground:
        for trouble in chosen:
            since = time.monotonic()
            outcomes.append(play(ground, trouble))
            found = outcomes[-1]
            verdict = f"skipped: {found.skipped}" if found.skipped else "ok" if found.held else "NOT AS IT SHOULD BE"
            print(f"{time.monotonic() - since:5.1f} s  {trouble.name}: {verdict}", flush=True)
            for line in (*found.missing, *found.lasting):
                print(f"         {line}", flush=True)
    seconds = time.monotonic() - began
    show(outcomes, seconds)
    if given.markdown is not None:
        given.markdown.write_text(markdown(outcomes, seconds), encoding="utf-8")
    return int(not all(outcome.held for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
