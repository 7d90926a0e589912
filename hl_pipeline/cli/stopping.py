"""A command that ends in order when it is told to: the first signal asks, the second ends it now.

Handlers stand for SIGINT, too: a shell that starts a command with ``&`` has SIGINT ignored, and it is heard all the
same.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from hl_pipeline.model.halt import Halt, Halted

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Who hangs, in the database most likely, ends so long after the first signal; what is not committed is rolled back,
#: and a reservation of weight expires within a minute.
LAST_SECONDS = 12.0


def ending() -> tuple[signal.Signals, ...]:
    """The signals that end a command here; a closed terminal does not where `nohup` had it ignored."""
    is_deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in _ENDING if not (is_deaf and number is signal.SIGHUP))


class StopSignals:
    """What was heard; ``exit_code`` is what a shell gives a process that the first signal ended."""

    def __init__(self) -> None:
        self.halt = Halt()
        self.exit_code = 0

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """The signal handler."""
        if self.halt.wanted:
            os._exit(128 + number)
        self.exit_code = 128 + number
        self.halt.request()


@contextmanager
def stopping() -> Iterator[StopSignals]:
    """Hear SIGTERM, SIGINT (Ctrl-C) and, but under `nohup`, SIGHUP; give its ``halt`` to whatever works in the block.

    Work given up for it leaves the block as the exit code, with a line that says so.
    """
    signals, done = StopSignals(), threading.Event()

    def watch() -> None:
        signals.halt.wait()
        if not done.wait(LAST_SECONDS):
            os._exit(signals.exit_code)

    threading.Thread(target=watch, name="stopping", daemon=True).start()
    kept = {number: signal.signal(number, signals.hear) for number in ending()}
    try:
        yield signals
    except Halted as halted:
        click.echo("hl: interrupted; what was answered is stored, run it again for the rest", err=True)
        raise click.exceptions.Exit(signals.exit_code) from halted
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        done.set()
