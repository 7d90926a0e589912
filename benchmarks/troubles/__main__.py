"""``python -m benchmarks.troubles``: over forty troubles, each injected, seen, healed, and seen to be over.

``--only`` plays those whose name or theme holds the word; ``--processes`` plays them on so many grounds at once;
``--markdown`` writes the page. Exit code 1 when one was not seen everywhere it should be, or did not end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.troubles.drill import Outcome, Sighting, Trouble, play
from benchmarks.troubles.everything import TROUBLES
from benchmarks.troubles.ground import open_ground
from benchmarks.troubles.page import markdown, show


def main() -> int:
    """Play them, print each, write the page."""
    given = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind: no server, no disk
    logging.getLogger("hl_pipeline.alerts").setLevel(logging.CRITICAL)  # every alert is looked at below
    words = given.only.split("|")
    chosen = [trouble for trouble in TROUBLES if any(word in f"{trouble.theme} {trouble.name}" for word in words)]
    began = time.monotonic()
    if given.outcomes is not None:
        _play_here(chosen[given.share :: given.processes], given.outcomes)
        return 0
    processes = min(given.processes, len(chosen))
    outcomes = _play_here(chosen) if processes <= 1 else _play_at_once(chosen, processes, given.only)
    seconds = time.monotonic() - began
    show(outcomes, seconds)
    if given.markdown is not None:
        given.markdown.write_text(markdown(outcomes, seconds), encoding="utf-8")
    return int(not all(outcome.held for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="those whose name or theme holds this; or one of several, by |")
    parser.add_argument("--processes", type=int, default=2, help="so many at once, each on a ground of its own")
    parser.add_argument("--markdown", type=Path, help="write the page of this run here")
    parser.add_argument("--share", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--outcomes", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _play_here(chosen: Sequence[Trouble], kept: Path | None = None) -> list[Outcome]:
    """One after the other; ``kept`` holds what came of them so far."""
    outcomes: list[Outcome] = []
    with open_ground() as ground:
        for trouble in chosen:
            since = time.monotonic()
            outcomes.append(found := play(ground, trouble))
            verdict = f"skipped: {found.skipped}" if found.skipped else "ok" if found.held else "NOT AS IT SHOULD BE"
            lines = [f"{time.monotonic() - since:5.1f} s  {trouble.name}: {verdict}", *found.missing, *found.lasting]
            print("\n         ".join(lines), flush=True)
            if kept is not None:
                kept.write_text(json.dumps([_document(made) for made in outcomes]), encoding="utf-8")
    return outcomes


def _play_at_once(chosen: Sequence[Trouble], processes: int, only: str) -> list[Outcome]:
    """Every n-th in a process of its own, and in their own order again.

    Raises:
        RuntimeError: a process did not come to its end.
    """
    command = [sys.executable, "-m", "benchmarks.troubles", "--only", only, "--processes", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(share) for share in range(processes)]
        children = [
            subprocess.Popen([*command, "--share", str(share), "--outcomes", str(file)])
            for share, file in enumerate(files)
        ]
        try:
            codes = [child.wait() for child in children]
        finally:
            for child in children:
                child.terminate()
                child.wait()
        if any(codes):
            raise RuntimeError(f"a process did not come to its end: {codes}; see what it said above")
        found = {made.trouble.name: made for file in files for made in map(_outcome, json.loads(file.read_text()))}
    return [found[trouble.name] for trouble in chosen]


def _document(found: Outcome) -> dict[str, Any]:
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return {**fields, "trouble": found.trouble.name, "sightings": [seen._asdict() for seen in found.sightings]}


def _outcome(told: dict[str, Any]) -> Outcome:
    by_name = {trouble.name: trouble for trouble in TROUBLES}
    sightings = [Sighting(**seen) for seen in told.pop("sightings")]
    return Outcome(trouble=by_name[str(told.pop("trouble"))], sightings=sightings, **told)


if __name__ == "__main__":
    sys.exit(main())
