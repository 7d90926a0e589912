"""``hl dlq``: the windows that failed for good: why, what to do about each, and asking for them again."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

import click

from hl_pipeline.cli.screen import age, console, print_json, table
from hl_pipeline.model.dead_letter import DeadLetter, FailureKind, Outcome
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.open_gap import time_left
from hl_pipeline.model.span import SpanSet
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import dead_letters

_COLUMNS = [
    ("id", "right"), ("coin", "left"), ("interval", "left"), ("from (UTC)", "left"), ("slots", "right"),
    ("kind", "left"), ("failures", "right"), ("died", "left"), ("stands", "left"), ("recoverable for", "left"),
]  # fmt: skip
_KIND = click.Choice([str(kind) for kind in FailureKind])


@click.group()
def dlq() -> None:
    """Windows that failed for good: look at them, ask again.

    A window of a series is laid aside when it gets no usable answer for
    long, while others do. Its slots stay a gap, but nobody asks for them
    any more until you do, or until an hour before the exchange forgets them.
    """


@dlq.command(name="list")
@click.option("--kind", type=_KIND, help="Only those that failed in this way.")
@click.option("--all", "show_all", is_flag=True, help="Those, too, that were healed or lost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def list_(kind: str | None, show_all: bool, as_json: bool) -> None:
    """The dead letters, the newest death first. Always exit 0."""
    with _opened() as pipeline, pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        found = dead_letters.letters(connection, kind=_as_kind(kind), only_open=not show_all)
    if as_json:
        print_json({"now_ms": now_ms, "dead_letters": [as_document(letter) for letter in found]})
        return
    screen = console()
    if not found:
        screen.print("No dead letter." if show_all else "No dead letter is open; --all lists those that were.")
        return
    screen.print(table(_COLUMNS, [_row(letter, now_ms) for letter in found]))
    screen.print("\n`hl dlq show ID` says why and what to do; `hl dlq retry` has the open ones asked for again.")


@dlq.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def show(number: int, as_json: bool) -> None:
    """One dead letter: the error, the request, the next step."""
    with _opened() as pipeline, pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        endpoint = pipeline.source.endpoint
        found = dead_letters.letters(connection, numbers=[number])
    if not found:
        raise click.UsageError(f"there is no dead letter {number}; `hl dlq list --all` has their numbers")
    if as_json:
        print_json(as_document(found[0]))
    else:
        _tell(found[0], now_ms, endpoint)


@dlq.command()
@click.option("--kind", type=_KIND, help="Only those that failed in this way.")
@click.option("--id", "number", type=click.IntRange(min=1), help="Only this one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def retry(kind: str | None, number: int | None, as_json: bool) -> None:
    """Have open dead letters asked for again, once: all, or those chosen.

    It only makes them due. The next collection asks; so does `hl collect`.
    What is answered is resolved, what fails again stays a dead letter.
    """
    if kind and number:
        raise click.UsageError("take --kind or --id, not both")
    with _opened() as pipeline, pipeline.database.connection() as connection:
        retried = dead_letters.retry(connection, pipeline.clock.now_ms(), kind=_as_kind(kind), number=number)
        known = number is None or dead_letters.letters(connection, numbers=[number])
    if not known:
        raise click.UsageError(f"there is no dead letter {number}; `hl dlq list --all` has their numbers")
    if as_json:
        print_json({"retried": retried})
    elif not retried:
        click.echo("No dead letter of this choice is open: nothing to retry.")
    else:
        click.echo(f"Due again: {retried:,}. The next collection asks for them, or `hl collect` does so now.")


def as_document(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON can say it."""
    return {
        "id": letter.number,
        "coin": letter.key.coin,
        "interval": str(letter.key.interval),
        "kind": str(letter.kind),
        "outcome": str(letter.outcome),
        "slots": _spans(letter.slots),
        "waiting": _spans(letter.waiting),
        "lost": _spans(letter.lost),
        "failures": letter.attempts,
        "error": letter.error,
        "request": letter.request,
        "next_step": letter.next_step,
        "fetch_id": letter.fetch_id,
        "first_failed_ms": letter.first_failed_ms,
        "died_ms": letter.died_ms,
        "retried_ms": letter.retried_ms,
        "resolved_ms": letter.resolved_ms,
        "deadline_ms": letter.deadline_ms,
    }


def _opened() -> AbstractContextManager[Pipeline]:
    return open_pipeline(Settings.load(), only_looks=True)


def _as_kind(kind: str | None) -> FailureKind | None:
    return None if kind is None else FailureKind(kind)


def _row(letter: DeadLetter, now_ms: int) -> tuple[object, ...]:
    slots = letter.waiting or letter.slots
    return (
        letter.number,
        letter.key.coin,
        letter.key.interval,
        f"{to_datetime(slots.spans[0].start_ms):%Y-%m-%d %H:%M}",
        letter.count(slots),
        letter.kind,
        letter.attempts,
        f"{age(now_ms - letter.died_ms)} ago",
        letter.outcome,
        "-" if letter.deadline_ms is None else time_left(letter.deadline_ms - now_ms),
    )


def _tell(letter: DeadLetter, now_ms: int, endpoint: str) -> None:
    screen = console()
    waiting, lost = letter.count(letter.waiting), letter.count(letter.lost)
    lines = [
        f"Dead letter {letter.number}, {letter.outcome}: {letter.key.coin} {letter.key.interval}, "
        f"{letter.count(letter.slots):,} slots, {waiting:,} of them wait, {lost:,} are lost.",
        *(f"  {_told(span.start_ms)} to {_told(span.end_ms)} UTC" for span in letter.slots),
        f"kind        {letter.kind}, after {letter.attempts:,} failures since {_told(letter.first_failed_ms)}",
        f"died        {_told(letter.died_ms)}, {age(now_ms - letter.died_ms)} ago",
        f"retried     {_told(letter.retried_ms)}",
        f"resolved    {_told(letter.resolved_ms)}",
        f"error       {letter.error}",
        f"request     {letter.fetch_id} in hl.fetch; by hand:",
        f"  curl {endpoint} -H 'Content-Type: application/json' -d '{json.dumps(dict(letter.request))}'",
    ]
    if letter.deadline_ms is not None:
        lines.append(f"recoverable for {time_left(letter.deadline_ms - now_ms)}")
    if letter.outcome is not Outcome.HEALED:
        lines.append(f"next step   {letter.next_step}")
    for line in lines:
        screen.print(line, markup=False)


def _told(at_ms: int | None) -> str:
    return "never" if at_ms is None else f"{to_datetime(at_ms):%Y-%m-%d %H:%M}"


def _spans(slots: SpanSet) -> list[list[int]]:
    return [[span.start_ms, span.end_ms] for span in slots]
