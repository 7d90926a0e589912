"""``hl demo``: options, the order of the acts, the verdict, and then the web interface."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import click
from rich.console import Console
from rich.text import Text

from hl_pipeline.cli.demo.acts import Play
from hl_pipeline.cli.demo.stage import (
    DEMO_WEIGHT,
    USUAL_PORT,
    ahead_ms,
    demo_settings,
    opening_ms,
    sandbox_program,
    set_up,
)
from hl_pipeline.cli.demo.verdict import Promise, compare, held_slots, judge
from hl_pipeline.cli.ground import Ground, prepared
from hl_pipeline.cli.prepare import prepare
from hl_pipeline.cli.screen import console, table
from hl_pipeline.cli.station import require_ui_port
from hl_pipeline.cli.status import coverage_table
from hl_pipeline.cli.stopping import ending
from hl_pipeline.cli.supervisor import Stop, hold_port
from hl_pipeline.cli.up import keep_running
from hl_pipeline.model.failure import SchemaMismatch
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE
from hl_pipeline.settings import Settings


@click.command()
@click.option("--once", is_flag=True, help="Exit after the summary; also when there is no terminal.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web interface; 3000 by default.")
@click.pass_context
def demo(ctx: click.Context, once: bool, port: int | None) -> None:
    """See it work: a local exchange misbehaves, the pipeline heals.

    Needs no account and no network. Its data stays in .hl/demo; a second
    run goes on from there. Exit 0 only if every promise shown was kept.
    """
    once = once or not sys.stdin.isatty()
    screen = console()
    with hold_port(USUAL_PORT) as listener, Unwinding() as unwinding:
        settings = demo_settings(dict(os.environ), port, listener.getsockname()[1])
        if not once:
            require_ui_port(settings)
        screen.print("[bold]hl demo[/bold]: six markets at six intervals from an exchange on this machine.")
        screen.print(
            f"Nothing leaves this machine. So that nobody waits, both sides allow {DEMO_WEIGHT:,} of request weight a "
            f"minute; the real exchange allows {EXCHANGE_WEIGHT_PER_MINUTE:,}."
        )
        with _demo_ground(settings) as ground:
            promises = _play(settings, ground, listener, screen)
            held = all(promise.held for promise in promises)
            if not once:
                _stay(settings, ground, listener, screen, unwinding)
    ctx.exit(0 if held else 1)


@contextmanager
def _demo_ground(settings: Settings) -> Iterator[Ground]:
    """The prepared database; one of another version may simply be thrown away, for it holds nothing but demos."""
    try:
        with prepared(settings) as ground:
            yield ground
    except SchemaMismatch as error:
        raise SchemaMismatch(f"{error}. Or begin the demo anew: rm -r {settings.home}") from error


def _play(settings: Settings, ground: Ground, listener: socket.socket, screen: Console) -> list[Promise]:
    screen.print(f"\nPostgres runs at {ground.database.address}, data in {settings.venue_home}")
    for name in ground.migration.applied:
        screen.print(f"  applied {name}")
    prepare(settings)
    with set_up(settings, ground, listener, opening_ms(ground), screen.print) as stage:
        play = Play(stage, screen)
        play.first_collection()
        before = held_slots(stage)
        play.trouble()
        play.neglect()
        play.healing()
        found = compare(stage)
        promises, held = judge(stage, before, found, play.rows, play.healed)
        screen.print("\n[bold]4  What was promised, and what happened[/bold]\n")
        screen.print(coverage_table(held, stage.clock.now_ms()))
        screen.print()
        show(promises, screen)
        for line in found.different[:10]:
            screen.print(f"not equal: {line}", markup=False)
    return promises


def show(promises: Sequence[Promise], screen: Console) -> None:
    """One line a promise, and how many held."""
    order = sorted(promises, key=lambda promise: promise.number)
    rows = [(p.number, p.text, Text("yes", "green") if p.held else Text("NO", "bold red"), p.evidence) for p in order]
    screen.print(table([("", "left"), ("promise", "left"), ("held", "left"), ("evidence", "left")], rows))
    broken = sum(not promise.held for promise in promises)
    if broken:
        screen.print(f"\n[bold red]{broken} of {len(promises)} did not hold.[/bold red]")
    else:
        screen.print(f"\n[bold green]All {len(promises)} held.[/bold green]")


def _stay(settings: Settings, ground: Ground, listener: socket.socket, screen: Console, unwinding: Unwinding) -> None:
    """The web interface with the schedules on, at the pace and the limit of the real exchange."""
    ahead = ahead_ms(ground)
    settings = settings.model_copy(
        update={"weight_per_minute": EXCHANGE_WEIGHT_PER_MINUTE, "clock_offset_ms": ahead, "stream": True}
    )
    screen.print("\n[bold]5  The web interface, with the schedules running[/bold]")
    if ahead:
        minutes = -(-ahead // MINUTE_MS)
        screen.print(f"   Market time runs {minutes} minutes ahead of your clock, for each demo lives through some.")
    sandbox = sandbox_program(settings, listener, "--clock-offset-ms", str(ahead))
    with Stop().listening() as stop:
        keep_running(replace(ground, settings=settings), stop, screen.print, [sandbox])
        unwinding.is_leaving = stop.wanted  # a second signal must not interrupt the stopping of Postgres


class Unwinding:
    """SIGTERM, Ctrl-C and a closed terminal leave through the ``with`` blocks, once, so that nothing we started stays.

    A terminal that is closed sends more than one signal.
    """

    def __init__(self) -> None:
        self.is_leaving = False

    def __enter__(self) -> Unwinding:
        self._kept = {number: signal.signal(number, self._leave) for number in ending()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        if not self.is_leaving:
            self.is_leaving = True
            raise SystemExit(128 + number)
