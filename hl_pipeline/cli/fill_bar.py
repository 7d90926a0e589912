"""A progress bar that follows a fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hl_pipeline.cli.screen import console, progress
from hl_pipeline.collect.fill import FillReport


@contextmanager
def fill_bar(
    name: str, note: Callable[[FillReport], str], *, quiet: bool = False
) -> Iterator[Callable[[FillReport], None]]:
    """Show a bar while the block runs; what it yields is the fill's ``on_progress``. ``note`` stands beside the bar."""
    with progress(console()) as bar:
        task = bar.add_task(name, total=None, note="", visible=not quiet)

        def advance(report: FillReport) -> None:
            bar.update(task, total=report.planned, completed=report.finished, note=note(report))

        yield advance
