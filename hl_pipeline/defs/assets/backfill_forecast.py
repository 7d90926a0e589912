"""What a back-fill would cost and what it could still get, before anybody launches it."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from hl_pipeline.collect.forecast import BackfillForecast
from hl_pipeline.defs.assets.markets import markets
from hl_pipeline.defs.describe import HISTORY, NEXT_STEP, OWNERS, columns, instant, said_plainly, table
from hl_pipeline.defs.instants import read_instant
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.forecast import MonthForecast
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import series

FORECAST_COLUMNS = {
    "market": ("text", "the exchange's name of the market"),
    "interval": ("text", "1m, 5m, 15m, 1h, 4h or 1d"),
    "month": ("text", "YYYY-MM, UTC"),
    "stored": ("integer", "final candles stored"),
    "to ask": ("integer", "slots that a run would ask for"),
    "source": ("text", "held, reachable, partly gone, gone, before listing, after delisting, not yet closed"),
    "what can be had": ("text", "the same in a sentence"),
}
DAY_MS = 86_400_000
USUAL_DAYS = 90
#: Markets x intervals x months can be thousands; those that cost or cannot be had come first.
SHOWN_MONTHS = 300


class ForecastChoice(dg.Config):
    """Which back-fill to reckon."""

    markets: list[str] = Field(default=[], description="Coins as the exchange writes them; all tracked ones if empty.")
    intervals: list[str] = Field(default=[], description="Of 1m 5m 15m 1h 4h 1d; all that are collected if empty.")
    start: str | None = Field(
        default=None, description=f"First instant, ISO 8601: 2026-08-01. {USUAL_DAYS} days ago if left out."
    )
    end: str | None = Field(default=None, description="Up to this instant, exclusive. Now if left out.")

    def window(self, now_ms: int) -> Span:
        """The span to reckon with.

        Raises:
            InvalidSetting: an instant cannot be read, or nothing lies between them.
        """
        start = read_instant("start", self.start, now_ms - USUAL_DAYS * DAY_MS)
        end = min(read_instant("end", self.end, now_ms), now_ms)
        if start >= end:
            raise InvalidSetting(f"start {self.start} is not before end {self.end or 'now'}: choose an earlier start")
        return Span(start, end)


@dg.asset(
    deps=[markets],
    group_name=HISTORY,
    owners=OWNERS,
    kinds={"python"},
    code_version="1",
    metadata={"dagster/column_schema": columns(FORECAST_COLUMNS)},
)
def backfill_forecast(config: ForecastChoice, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """What a back-fill would cost: look here **before** you launch one. Asks the exchange nothing.

    1. *Materialize* it; shift-click opens the launchpad to choose markets, intervals, start and end. Without them it is
       all markets and the last 90 days.
    2. Read its metadata: requests, weight, minutes, rows, MB, and whether the exchange still has each month.
    3. *next step* says how to go on: select `candles_1h` (or others), *Materialize*, choose the market and the months.

    A run is refused when it would need more than `HL_BACKFILL_MAX_WEIGHT` or `HL_BACKFILL_MAX_MINUTES`. On the command
    line: `hl backfill --dry-run`.
    """
    with said_plainly():
        window = config.window(pipeline.clock.now_ms())
        with pipeline.database.connection() as connection:
            tracked = sorted({state.key.coin for state in series.load(connection)})
            coins = _known("market", config.markets, tracked)
            intervals = _known(
                "interval", config.intervals, [str(interval) for interval in pipeline.settings.intervals]
            )
            forecast = pipeline.forecast(
                connection, coins=coins, intervals=[Interval(name) for name in intervals], window=window
            )
    return dg.MaterializeResult(metadata=_told(pipeline, forecast, window))


def _known(what: str, wanted: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    if strange := sorted(set(wanted) - set(known)):
        raise InvalidSetting(f"{', '.join(strange)} is no {what} that is collected: choose of {', '.join(known)}")
    return wanted or known


def _told(
    pipeline: Pipeline, forecast: BackfillForecast, window: Span
) -> dict[str, dg.MetadataValue | int | float | str]:
    asked = forecast.asked
    least, usual, most = forecast.minutes
    measured = forecast.row.measured_rows
    months = sorted(asked.months, key=lambda month: (not month.wanted, month.source == "held"))
    return {
        NEXT_STEP: _next_step(pipeline, forecast),
        "requests": asked.calls,
        "weight": asked.weight,
        "minutes beside live collection": round(usual, 1),
        "minutes with the whole budget": round(least, 1),
        "minutes held to the lane's floor": round(most, 1),
        "rows": asked.rows,
        "MB": round(forecast.bytes_stored / 1e6, 1),
        "bytes a candle": round(forecast.row.bytes, 1),
        "bytes a candle, from": f"{measured:,} stored candles" if measured else "our usual figure; too few are stored",
        "months": table([_row(month) for month in months[:SHOWN_MONTHS]]),
        "months shown": f"{min(len(months), SHOWN_MONTHS)} of {len(months)}",
        "months that cannot be had": len(asked.nothing_to_have),
        "from": instant(window.start_ms),
        "to": instant(window.end_ms),
        "dagster/row_count": len(months),
    }


def _next_step(pipeline: Pipeline, forecast: BackfillForecast) -> str:
    if not forecast.asked.calls:
        return "nothing to launch: what is due and can still be had is settled"
    try:
        forecast.refuse_over(pipeline.backfill_ceiling)
    except InvalidSetting as refusal:
        return f"as one run it would be refused: {refusal}"
    return (
        "select candles_1m to candles_1d (those you want), Materialize, choose market and months, launch; "
        "or `hl backfill`"
    )


def _row(month: MonthForecast) -> dict[str, str | int]:
    return {
        "market": month.key.coin,
        "interval": str(month.key.interval),
        "month": f"{to_datetime(month.month.start_ms):%Y-%m}",
        "stored": month.settled.final,
        "to ask": month.wanted,
        "source": str(month.source),
        "what can be had": month.story,
    }
