"""What the user sees: tables and progress bars on the terminal, JSON where a program reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hl_pipeline.model.redact import redact_document

#: Ages and spans up to this many of a unit are shown in it.
_UNITS = ((1000, 90, "s"), (60_000, 90, "min"), (3_600_000, 48, "h"), (86_400_000, 100_000, "d"))


def console() -> Console:
    """The terminal, or a plain pipe; made anew so that a test's captured output is used."""
    made = Console(highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = 120
    return made


def print_json(value: object) -> None:
    """One JSON document on stdout, with nothing around it and no secret in it."""
    plain = json.loads(json.dumps(value, default=str))
    click.echo(json.dumps(redact_document(plain), indent=2))


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A table; each column is a heading and ``left`` or ``right``.

    A text is shown as it is: what an error says in brackets is no markup. A cell in a colour is a ``Text``.
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False, box=None)
    for heading, side in columns:
        made.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    return made


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    return Text(f"{value:,}" if isinstance(value, int) else str(value))


def progress(screen: Console) -> Progress:
    """A progress bar that also says how long it has taken; silent where there is no terminal."""
    return Progress(
        TextColumn("  {task.description:<34}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=screen,
        disable=not screen.is_terminal,
    )


def age(milliseconds: int | None) -> str:
    """A duration for people: ``42 s``, ``7 min``, ``3 d``; a dash when there is none."""
    if milliseconds is None:
        return "-"
    for unit_ms, most, name in _UNITS:
        if milliseconds < most * unit_ms:
            return f"{milliseconds // unit_ms} {name}"
    return f"{milliseconds // 86_400_000} d"
