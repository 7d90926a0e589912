"""How a back-fill gets on while it runs, and how far it was from its forecast when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from hl_pipeline.collect.fill import FillReport
from hl_pipeline.model.forecast import Forecast

#: Often enough to see that it lives, seldom enough that an hour's log can be read.
EVERY_SECONDS = 10.0


class Measured(NamedTuple):
    """One quantity as it was forecast and as it came; ``off_percent`` is of the forecast, null when that was 0."""

    what: str
    forecast: int
    actual: int

    @property
    def off_percent(self) -> float | None:
        """How far the actual is above (or, negative, below) the forecast."""
        return round(100 * (self.actual - self.forecast) / self.forecast, 1) if self.forecast else None


def compared(asked: Forecast, report: FillReport) -> list[Measured]:
    """Requests, weight and rows: forecast beside actual."""
    answered = report.landed + len(report.failures)
    return [
        Measured("requests", asked.calls, answered),
        Measured("weight", asked.weight, report.weight),
        Measured("rows", asked.rows, report.received),
    ]


class NowAndThen:
    """Says yes at most every ``every_s`` seconds, the first time one such span after it was made."""

    def __init__(self, every_s: float = EVERY_SECONDS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._last = monotonic()

    def is_due(self) -> bool:
        """Whether it is time; if so, the next span begins."""
        now = self._monotonic()
        if now - self._last < self._every_s:
            return False
        self._last = now
        return True


class Progress:
    """Tells ``say`` how a fill stands against its forecast, at most every ``every_s`` seconds.

    Give it to ``fill`` as ``on_progress``: it is called by one thread at a time.
    """

    def __init__(
        self,
        asked: Forecast,
        say: Callable[[str], None],
        *,
        every_s: float = EVERY_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = asked
        self._say = say
        self._monotonic = monotonic
        self._began = monotonic()
        self._speaks = NowAndThen(every_s, monotonic)

    def __call__(self, report: FillReport) -> None:
        """Note how far the fill is; speak if it is time."""
        if self._speaks.is_due():
            self._say(self.sentence(report))

    def sentence(self, report: FillReport) -> str:
        """Requests answered, weight, rows, failures and the time that is left at the pace so far."""
        asked = self._asked
        done = report.finished
        failed = f", {len(report.failures)} failed" if report.failures else ""
        return (
            f"{done:,} of {max(report.planned, done):,} requests{failed}, {report.weight:,} of about "
            f"{asked.weight:,} weight, {report.received:,} of about {asked.rows:,} rows; {self._left(report)}"
        )

    def _left(self, report: FillReport) -> str:
        rest = self._asked.weight - report.weight
        if rest <= 0 or not report.weight:
            return "nearly done" if report.weight else "the time left is not known yet"
        seconds = (self._monotonic() - self._began) * rest / report.weight
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"
