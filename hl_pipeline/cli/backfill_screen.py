"""What ``hl backfill`` says: the forecast, the outcome beside it, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import click
from rich.console import Console

from hl_pipeline.cli.screen import table
from hl_pipeline.collect.fill import FillReport
from hl_pipeline.collect.forecast import BackfillForecast, Ceiling
from hl_pipeline.collect.progress import compared
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.forecast import MonthForecast, Source
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span

_COLUMNS = [
    ("interval", "left"), ("month", "left"), ("market", "left"), ("stored", "right"), ("to ask", "right"),
    ("what can be had", "left"),
]  # fmt: skip
_SHOWN_COINS = 3
_BARS = "Dagster's partition bars follow with the next run of the job `seal` (nightly, or launch it)."
_SHOWN_FAILURES = 10


def show_forecast(screen: Console, forecast: BackfillForecast, window: Span, *, only_wanted: bool) -> None:
    """The months (or those in which something is wanted), and what they cost."""
    asked = forecast.asked
    months = [month for month in asked.months if month.wanted or not only_wanted]
    screen.print(f"Back-fill from {_minute(window.start_ms)} to {_minute(window.end_ms)} UTC\n")
    screen.print(table(_COLUMNS, _rows(months)))
    if not asked.calls:
        screen.print("\nNothing to ask for: all that is due and can still be had is settled.")
        return
    screen.print(
        f"\nRequests {asked.calls:,} · weight {asked.weight:,} · rows {asked.rows:,} · "
        f"disk {_megabytes(forecast)}\nTime {_time(forecast)}"
    )


def show_refusal(screen: Console, forecast: BackfillForecast, ceiling: Ceiling) -> bool:
    """Say if it is over a ceiling; whether it is."""
    try:
        forecast.refuse_over(ceiling)
    except InvalidSetting as refusal:
        screen.print(f"It would be refused: {refusal}.", markup=False)
        return True
    return False


def show_done(screen: Console, forecast: BackfillForecast, report: FillReport, left: BackfillForecast) -> None:
    """Forecast beside actual, and what is left."""
    if not report.planned:
        screen.print(_BARS)
        return
    rows = [
        (m.what, m.forecast, m.actual, "-" if m.off_percent is None else f"{m.off_percent:+.1f} %")
        for m in compared(forecast.asked, report)
    ]
    screen.print()
    screen.print(table([("", "left"), ("forecast", "right"), ("actual", "right"), ("off", "right")], rows))
    screen.print(
        f"\n{report.settled_final:,} slots became final, {report.settled_empty:,} proven empty; "
        f"{report.inserted:,} candles new, {report.revised:,} revised, {report.rejected:,} refused."
    )
    for failure in report.failures[:_SHOWN_FAILURES]:
        screen.print(f"not read: {failure}", markup=False)
    if len(report.failures) > _SHOWN_FAILURES:
        screen.print(f"... and {len(report.failures) - _SHOWN_FAILURES} more; all are in hl.fetch")
    wanted = sum(month.wanted for month in left.asked.months)
    if wanted:
        screen.print(
            f"Slots still missing: {wanted:,}. `hl gaps` says why; `hl backfill --incomplete` asks for them again (an "
            "absence is proven by asking twice, 30 minutes apart)."
        )
    else:
        screen.print("Every slot that is due and can be had is settled.")
    screen.print(_BARS)


def show_interrupted(left: BackfillForecast) -> None:
    """On stderr: what is stored stays, and what is left."""
    click.echo(
        f"hl: interrupted; what was answered is stored. Left: {left.asked.calls:,} requests, "
        f"{left.asked.weight:,} weight. Run the same command again for the rest",
        err=True,
    )


def as_document(forecast: BackfillForecast) -> dict[str, Any]:
    """The forecast as JSON can say it."""
    least, usual, most = forecast.minutes
    return {
        "requests": forecast.asked.calls,
        "weight": forecast.asked.weight,
        "rows": forecast.asked.rows,
        "megabytes": round(forecast.bytes_stored / 1e6, 3),
        "bytes_a_row": round(forecast.row.bytes, 1),
        "bytes_a_row_measured_on": forecast.row.measured_rows,
        "minutes": {"whole_budget": least, "beside_live": usual, "lane_floor": most},
        "months": [
            {
                "coin": month.key.coin,
                "interval": str(month.key.interval),
                "month": f"{to_datetime(month.month.start_ms):%Y-%m}",
                "source": str(month.source),
                "wanted": month.wanted,
                **month.settled._asdict(),
                "story": month.story,
            }
            for month in forecast.asked.months
        ],
    }


def done_document(forecast: BackfillForecast, report: FillReport, left: BackfillForecast) -> dict[str, Any]:
    """The outcome as JSON can say it: forecast, actual, what is left."""
    return {
        "forecast": as_document(forecast),
        "actual": {**asdict(report), "coins_failed": sorted(report.coins_failed)},
        "off_percent": {m.what: m.off_percent for m in compared(forecast.asked, report)},
        "left": as_document(left),
    }


def _rows(months: Sequence[MonthForecast]) -> list[tuple[object, ...]]:
    """One line for the markets of which the same can be said."""

    def alike(month: MonthForecast) -> tuple[object, ...]:
        return month.key.interval.milliseconds, month.month, month.source

    rows: list[tuple[object, ...]] = []
    for _, group in groupby(sorted(months, key=alike), alike):
        same = list(group)
        first = same[0]
        rows.append(
            (
                first.key.interval,
                f"{to_datetime(first.month.start_ms):%Y-%m}",
                _coins([month.key.coin for month in same]),
                sum(month.settled.final for month in same),
                sum(month.wanted for month in same),
                first.story if len({month.story for month in same}) == 1 else _SAID[first.source],
            )
        )
    return rows


_SAID = {
    Source.HELD: "nothing to ask for: what is due is settled",
    Source.REACHABLE: "all can be had",
    Source.PARTLY_GONE: "the exchange has the newer part",
    Source.GONE: "source gone: the exchange has forgotten it",
    Source.BEFORE_LISTING: "before the first candle",
    Source.AFTER_DELISTING: "after the last candle",
    Source.NOT_YET: "no slot of it has closed yet",
}


def _coins(coins: Sequence[str]) -> str:
    return ", ".join(coins) if len(coins) <= _SHOWN_COINS else f"{len(coins)} markets"


def _megabytes(forecast: BackfillForecast) -> str:
    basis = (
        f"measured on {forecast.row.measured_rows:,} stored candles"
        if forecast.row.measured_rows
        else "our usual figure; too little is stored to measure"
    )
    return f"{forecast.bytes_stored / 1e6:,.1f} MB ({forecast.row.bytes:.0f} bytes a candle, {basis})"


def _time(forecast: BackfillForecast) -> str:
    if forecast.minutes[-1] < 1:
        return "under a minute, however much the others ask"
    least, usual, most = map(_minutes, forecast.minutes)
    pace = forecast.pace
    return (
        f"{usual} beside live collection ({pace.live:,} of {pace.budget:,} weight a minute); {least} if nobody else "
        f"asks, {most} if others ask for all they may ({pace.floor:,} a minute are always ours)"
    )


def _minutes(minutes: float) -> str:
    return "under a minute" if minutes < 1 else f"about {minutes:,.0f} min"


def _minute(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M}"
