"""Options that several commands share: names between commas, judged against the settings."""

from __future__ import annotations

from typing import Any

import click

from hl_pipeline.model.interval import Interval
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


def judged_intervals(
    settings: Settings, coins: tuple[str, ...] | None, intervals: tuple[str, ...] | None
) -> tuple[Interval, ...] | None:
    """The chosen intervals; null is all of them.

    Raises:
        click.UsageError: a coin is not tracked, or an interval not collected.
    """
    strange = set(coins or ()) - set(settings.markets)
    if strange:
        raise click.UsageError(
            f"{', '.join(sorted(strange))} is not tracked; HL_MARKETS has {','.join(settings.markets)}"
        )
    untaken = set(intervals or ()) - {str(interval) for interval in settings.intervals}
    if untaken:
        taken = ",".join(map(str, settings.intervals))
        raise click.UsageError(f"{', '.join(sorted(untaken))} is not collected; HL_INTERVALS has {taken}")
    return None if intervals is None else tuple(map(Interval, intervals))
