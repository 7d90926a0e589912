"""``hl gaps``: every slot that is due and not settled: why, and for how long it can still be had."""

from __future__ import annotations

from typing import Any

import click

from hl_pipeline.cli.options import Names, judged_intervals, require_tracked
from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.open_gap import OpenGap, time_left
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import markets
from hl_pipeline.storage.gaps import open_gaps

_COLUMNS = [
    ("coin", "left"), ("interval", "left"), ("from (UTC)", "left"), ("slots", "right"), ("why", "left"),
    ("attempts", "right"), ("next try", "left"), ("recoverable for", "left"),
]  # fmt: skip


@click.command()
@click.option("--coins", type=Names(), help="Only these; all tracked markets by default.")
@click.option("--intervals", type=Names(), help="Only these of 1m,5m,15m,1h,4h,1d.")
@click.option("--all", "show_all", is_flag=True, help="List those, too, that only wait for their turn.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def gaps(coins: tuple[str, ...] | None, intervals: tuple[str, ...] | None, show_all: bool, as_json: bool) -> None:
    """Every open gap, the one that is lost first on top.

    A gap is a run of slots that are due and not settled. The exchange
    forgets a slot 5000 candles later; until then it can be recovered.
    Always exit 0: a gap is a finding, `hl health` judges it.
    """
    settings = Settings.load()
    now_ms, found = read(settings, coins, judged_intervals(settings, coins, intervals))
    young = [] if show_all else [gap for gap in found if gap.is_young]
    listed = [gap for gap in found if show_all or not gap.is_young]
    if as_json:
        print_json(as_document(now_ms, listed, young))
    else:
        _show(now_ms, listed, young)


def read(
    settings: Settings, coins: tuple[str, ...] | None, intervals: tuple[Interval, ...] | None
) -> tuple[int, list[OpenGap]]:
    """Market time (ms UTC) and the gaps at that instant, nearest deadline first.

    Raises:
        DatabaseUnavailable: it is not running.
        SchemaMismatch: it must be migrated first.
    """
    with open_pipeline(settings, only_looks=True) as pipeline, pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        if settings.universe is not Universe.LIST:
            require_tracked(settings, coins, markets.tracked(connection))
        return now_ms, open_gaps(
            connection,
            now_ms,
            settle_ms=pipeline.policy.proof.settle_ms,
            period_ms=pipeline.period_ms,
            coins=coins,
            intervals=intervals,
        )


def as_document(now_ms: int, listed: list[OpenGap], young: list[OpenGap]) -> dict[str, Any]:
    """The gaps as JSON can say it; ``young`` are only counted."""
    return {
        "now_ms": now_ms,
        "gaps": [
            {
                "coin": gap.key.coin,
                "interval": str(gap.key.interval),
                "start_ms": gap.span.start_ms,
                "end_ms": gap.span.end_ms,
                "slots": gap.slots,
                "reason": str(gap.reason),
                "why": gap.why,
                "attempts": gap.attempts,
                "next_try_ms": gap.next_try_ms,
                "deadline_ms": gap.deadline_ms,
                "recoverable_for": time_left(gap.deadline_ms - now_ms),
            }
            for gap in listed
        ],
        "young": {"gaps": len(young), "slots": sum(gap.slots for gap in young)},
    }


def _show(now_ms: int, listed: list[OpenGap], young: list[OpenGap]) -> None:
    screen = console()
    if listed:
        screen.print(table(_COLUMNS, [_row(gap, now_ms) for gap in listed]))
        slots = sum(gap.slots for gap in listed)
        screen.print(f"\nSlots missing: {slots:,}, gaps: {len(listed):,}. `hl collect` asks for what is due now.")
    else:
        screen.print("No gap: every slot that is due is settled, or waits for its turn.")
    if young:
        slots = sum(gap.slots for gap in young)
        screen.print(f"Too young to be trusted, or waiting for the next tick: {slots:,} slots; --all lists them.")


def _row(gap: OpenGap, now_ms: int) -> tuple[object, ...]:
    wait_ms = gap.next_try_ms - now_ms
    return (
        gap.key.coin,
        gap.key.interval,
        f"{to_datetime(gap.span.start_ms):%Y-%m-%d %H:%M}",
        gap.slots,
        gap.why,
        gap.attempts,
        f"in {time_left(wait_ms)}" if wait_ms > 0 else "due now",
        time_left(gap.deadline_ms - now_ms),
    )
