"""``hl confidence``: how far each series can be trusted, the worst first; or how one series' score came about."""

from __future__ import annotations

from typing import Any

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.confidence import KeptScore, history, latest

_HOUR_MS = 3_600_000
_COLUMNS = [("score", "right"), ("grade", "left"), ("weakest", "left"), ("why", "left")]


@click.command()
@click.argument("coin", required=False)
@click.argument("interval", required=False, type=click.Choice([str(interval) for interval in Interval]))
@click.option("--hours", type=click.IntRange(min=1), default=24, show_default=True, help="How far the history reaches.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def confidence(coin: str | None, interval: str | None, hours: int, as_json: bool) -> None:
    """The newest score of every series, the lowest first.

    With COIN and INTERVAL: the scores kept of that series, the oldest
    first. A score that does not move is kept once an hour. The job
    `recalculate_confidence` scores everything again, without a request.
    """
    if coin is not None and interval is None:
        raise click.UsageError(f"{coin} has one score an interval; say which: hl confidence {coin} 1m")
    key = SeriesKey(coin, Interval(interval)) if coin is not None and interval is not None else None
    found = read(Settings.load(), key, hours)
    if as_json:
        print_json([as_document(score) for score in found])
    else:
        _show(found, key, hours)


def read(settings: Settings, key: SeriesKey | None, hours: int) -> list[KeptScore]:
    """The newest scores, lowest first; or of one series all of the last ``hours`` of market time, oldest first.

    Raises:
        DatabaseUnavailable: it is not running.
        SchemaMismatch: it must be migrated first.
    """
    with open_pipeline(settings, only_looks=True) as pipeline, pipeline.database.connection() as connection:
        if key is not None:
            return history(connection, key, pipeline.clock.now_ms() - hours * _HOUR_MS)
        return sorted(latest(connection), key=lambda kept: (kept.score, kept.series_id))


def as_document(kept: KeptScore) -> dict[str, Any]:
    """A score as JSON can say it."""
    return {
        "coin": kept.key.coin,
        "interval": str(kept.key.interval),
        "scored_ms": kept.scored_ms,
        "score": round(kept.score, 4),
        "grade": kept.grade,
        "weakest": kept.weakest,
        "reasons": kept.reasons,
        "components": kept.components,
    }


def _show(found: list[KeptScore], key: SeriesKey | None, hours: int) -> None:
    screen = console()
    if not found:
        screen.print("No score is kept yet: `hl up` scores after every collection." if key is None else
                     f"No score of {key.coin} {key.interval} is kept from the last {hours} h.")  # fmt: skip
        return
    first = [("scored (UTC)", "left")] if key is not None else [("coin", "left"), ("interval", "left")]
    screen.print(table([*first, *_COLUMNS], [_row(kept, by_time=key is not None) for kept in found]))


def _row(kept: KeptScore, *, by_time: bool) -> tuple[object, ...]:
    first = (f"{to_datetime(kept.scored_ms):%Y-%m-%d %H:%M}",) if by_time else (kept.key.coin, kept.key.interval)
    weakest = kept.weakest if kept.reasons else "-"
    return (*first, f"{kept.score:.3f}", kept.grade, weakest, "; ".join(kept.reasons) or "nothing to complain of")
