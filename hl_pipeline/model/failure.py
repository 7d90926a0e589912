"""Every error we raise on purpose, split by what can be done about it.

PipelineError
├── TryAgain              time heals it; a retrier may act, after `retry_after` seconds if given
│   ├── ExchangeUnavailable   connection, time-out, 5xx, cut body
│   ├── RateLimited           the exchange answered 429
│   ├── BudgetExhausted       our own weight budget refused the request before it was sent
│   ├── BadAnswer             200, but not what was asked for (HTML, wrong shape, cut JSON)
│   ├── DatabaseUnavailable   Postgres cannot be reached, broke off, or has no room on its disk
│   ├── Untrusted             a reader asked for more confidence than the series has now
│   ├── MemoryLimitReached    the run grew too large and ended between two answers; the next one goes on
│   └── Superseded            a later run has taken the work over; nothing of this one is written any more
└── NeedsAPerson          trying again gives the same
    ├── InvalidSetting        configuration
    ├── UnknownSeries         a reader asked for a market or an interval that is not collected
    ├── RequestRefused        the exchange refused the request's form (422), or the coin does not exist
    ├── SchemaMismatch        code and database schema are of different versions
    └── AlreadyRunning        another instance holds the data folder
"""

from __future__ import annotations

from hl_pipeline.model.redact import redact


class PipelineError(Exception):
    """Base of all. Its text names the value, the rule and the next step, and holds no secret of this process."""

    def __str__(self) -> str:
        return redact(super().__str__())


class TryAgain(PipelineError):
    """Time heals it. ``retry_after`` is in seconds, when the other side named it."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ExchangeUnavailable(TryAgain):
    """The exchange cannot be reached, or broke off its answer."""


class RateLimited(TryAgain):
    """The exchange answered 429."""


class BudgetExhausted(TryAgain):
    """Our own weight budget refused; nothing was sent."""


class BadAnswer(TryAgain):
    """A 200 that is not an answer to what was asked."""


class DatabaseUnavailable(TryAgain):
    """Postgres cannot be reached, broke off, or has no room on its disk."""


class Untrusted(TryAgain):
    """A reader asked for more confidence than the series has now; it rises as gaps close and candles settle."""


class MemoryLimitReached(TryAgain):
    """The process holds more memory than a run may, so it ended between two answers; the next run goes on."""


class Superseded(TryAgain):
    """A later run claimed the same work, so this one's answer is refused."""


class NeedsAPerson(PipelineError):
    """Trying again gives the same."""


class InvalidSetting(NeedsAPerson):
    """A setting is missing, malformed or contradicts another."""


class UnknownSeries(NeedsAPerson):
    """A reader asked for a market or an interval that is not collected."""


class RequestRefused(NeedsAPerson):
    """The exchange refused the form of the request, or does not know the coin."""


class SchemaMismatch(NeedsAPerson):
    """Code and database schema are of different versions."""


class AlreadyRunning(NeedsAPerson):
    """Another instance holds what this one needs alone."""
