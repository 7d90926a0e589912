"""Options that several commands share: names between commas, judged against the settings."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import click

from hl_pipeline.model.interval import Interval, to_ms
from hl_pipeline.model.universe import Universe
from hl_pipeline.settings import Settings


class Names(click.ParamType):
    """Names between commas."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """``A,B`` as a tuple."""
        names = tuple(part.strip() for part in value.split(","))
        if "" in names:
            self.fail(f"{value!r} must be names between single commas, such as BTC,ETH", param, ctx)
        return names


def instant_ms(text: str) -> int:
    """A day or an instant as ms UTC; UTC unless it says otherwise.

    Raises:
        ValueError: it is neither.
    """
    at = datetime.fromisoformat(text.strip())
    return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def judged_intervals(
    settings: Settings, coins: tuple[str, ...] | None, intervals: tuple[str, ...] | None
) -> tuple[Interval, ...] | None:
    """The chosen intervals; null is all of them. Which coins a universe tracks, only ``require_tracked`` can tell.

    Raises:
        click.UsageError: a coin is not tracked, or an interval not collected.
    """
    if settings.universe is Universe.LIST:
        require_tracked(settings, coins, settings.markets)
    untaken = set(intervals or ()) - {str(interval) for interval in settings.intervals}
    if untaken:
        taken = ",".join(map(str, settings.intervals))
        raise click.UsageError(f"{', '.join(sorted(untaken))} is not collected; HL_INTERVALS has {taken}")
    return None if intervals is None else tuple(map(Interval, intervals))


def require_tracked(settings: Settings, coins: Collection[str] | None, tracked: Collection[str]) -> None:
    """Refuse coins that are not among the ``tracked``; null asks for all of them.

    Raises:
        click.UsageError: a coin is not tracked.
    """
    strange = set(coins or ()) - set(tracked)
    if strange:
        universe = "" if settings.universe is Universe.LIST else f", HL_UNIVERSE is {settings.universe}"
        raise click.UsageError(
            f"{', '.join(sorted(strange))} is not tracked; HL_MARKETS has {','.join(settings.markets)}{universe}"
        )
