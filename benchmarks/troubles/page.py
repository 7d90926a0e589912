"""What a run of the drill showed: on the terminal, and as docs/troubles.md."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.troubles.drill import Outcome, Sighting
from hl_pipeline.model.interval import MINUTE_MS

_SHOWN = 220
_STAGE = re.compile(re.escape(tempfile.gettempdir()) + r"/hl-troubles-\w+/stage-\w+")


def show(outcomes: Sequence[Outcome], seconds: float) -> None:
    """A table on the terminal."""
    made = Table(title="Troubles", show_lines=True)
    for heading in ("trouble", "seen in", "what the operator read", "after", "over after"):
        made.add_column(heading, overflow="fold")
    for found in outcomes:
        for place, seen in enumerate(found.sightings):
            first = place == 0
            over = span(found.over_ms) if found.held else "NO"
            made.add_row(
                found.trouble.name if first else "", f"{seen.face}\n{seen.name}", _short(seen.said),
                span(seen.after_ms), over if first else "",
            )  # fmt: skip
    Console(width=160).print(made)
    for found in outcomes:
        for line in (*found.missing, *found.lasting):
            print(f"{found.trouble.name}: {line}")
    held = sum(found.held and found.skipped is None for found in outcomes)
    print(f"{held} of {len(outcomes)} troubles were seen and ended, in {seconds:.0f} s")


def markdown(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The page."""
    return "\n".join([*_head(outcomes, seconds), *itertools.chain.from_iterable(map(_section, outcomes)), ""])


def span(milliseconds: int | None) -> str:
    """Market time in its two largest units."""
    if milliseconds is None:
        return "-"
    seconds = round(milliseconds / 1000)
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(milliseconds / MINUTE_MS)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if minutes < 120 else f"{hours} h {rest} min" if rest else f"{hours} h"


def _head(outcomes: Sequence[Outcome], seconds: float) -> Iterator[str]:
    played = [found for found in outcomes if found.skipped is None]
    held = sum(found.held for found in played)
    rules = {rule for found in played for rule in found.trouble.rules}
    checks = {check for found in played for check in found.trouble.checks}
    yield from (
        "# Troubles, and what the operator sees of them",
        "",
        f"Written by `make troubles` from its last run: {len(played)} troubles injected for real, {held} seen in every",
        f"face they should be, and over at the end; {len(rules)} alert rules, {len(checks)} asset checks; "
        f"{seconds:.0f} s.",
        "",
        "Each is played on a copy of one filled database, with a local exchange (`hl_pipeline/sandbox`), a real",
        "Postgres, Dagster's own instance in it, the real jobs, sensors and commands. Market time is moved by hand, so",
        "that waiting costs nothing: *after* is market time from the injection to the sighting (a command sees what it",
        "is asked for, when it is asked), *over after* from the healing until every alert was told to be over and each",
        "check passed. Where market time is a few seconds, a command's own time is all it was.",
        "An alert is seen when its notice arrives at a channel: rules wait half a minute to five before they tell.",
        "",
        "| trouble | first seen | after | healed | over after |",
        "|---|---|---|---|---|",
    )
    for found in outcomes:
        yield _line(found)


def _line(found: Outcome) -> str:
    trouble = found.trouble
    if found.skipped is not None:
        return _row(_link(trouble.name), f"not played: {found.skipped}", "", "", "")
    first = min(found.sightings, key=lambda seen: seen.after_ms, default=None)
    over = span(found.over_ms) if found.held else "**not over**"
    where = "nowhere" if first is None else f"{first.face} `{first.name.rpartition('/')[2]}`"
    return _row(_link(trouble.name), where, span(None if first is None else first.after_ms), trouble.healing, over)


def _section(found: Outcome) -> Iterator[str]:
    trouble = found.trouble
    yield from ("", f"## {trouble.name[0].upper()}{trouble.name[1:]}", "", f"Injected: {trouble.what}.", "")
    if found.skipped is not None:
        yield f"Not played: {found.skipped}."
        return
    yield from ("| seen in | which | after | what it said |", "|---|---|---|---|")
    for seen in sorted(found.sightings, key=lambda sighting: sighting.after_ms):
        yield _row(seen.face, f"`{seen.name}`", span(seen.after_ms), _cell(seen))
    yield ""
    yield f"Healed: {trouble.healing}. Over {span(found.over_ms)} later, in {found.over_s or 0:.0f} s of real time."
    if found.also:
        yield f"Told beside it: {', '.join(f'`{rule}`' for rule in found.also)}."
    if found.beside:
        yield f"Open beside it at the end: {'; '.join(map(_short, found.beside))}."
    pages = sorted({check.rpartition("/")[2] for check in trouble.checks})
    if pages:
        yield f"Runbook: {', '.join(f'[{name}](runbooks/{name}.md)' for name in pages)}."
    for line in (*found.missing, *found.lasting):
        yield f"**Not as it should be:** {line}."


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cell(seen: Sighting) -> str:
    return _short(seen.said)


def _short(text: str) -> str:
    """One line of the text, in which the folder that the drill made for itself is called HL_HOME."""
    line = _STAGE.sub("HL_HOME", " ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _link(name: str) -> str:
    anchor = "".join(letter for letter in name.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
    return f"[{name}](#{anchor})"
