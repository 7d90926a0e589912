"""A back-fill before it runs: calls, weight, minutes, rows, megabytes, and the months whose source is gone.

Nothing is asked of the exchange. What is reckoned is the plan that ``fill``
would work off at this instant, so it equals what a run asks unless the ledger
moves in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count, product

from hl_pipeline.model.budget import Lane
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.forecast import Forecast, Pace, forecast, unknown_series
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import ProofPolicy, SeriesState
from hl_pipeline.model.month import months_in
from hl_pipeline.model.span import Span
from hl_pipeline.storage import backfill, series
from hl_pipeline.storage.backfill import RowSize
from hl_pipeline.storage.engine import Connection


@dataclass(frozen=True, slots=True)
class Budget:
    """Weight a minute: what all processes may spend, and what live collection takes of it."""

    weight: int
    live: int


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that one back-fill may need: weight, and minutes beside live collection."""

    weight: int
    minutes: int


@dataclass(frozen=True, slots=True)
class BackfillForecast:
    """What a back-fill asks and stores.

    ``minutes`` are: with the whole budget, beside live collection, held to the
    lane's floor. ``bytes_stored`` counts the slots that are not stored yet.
    """

    asked: Forecast
    pace: Pace
    row: RowSize

    @property
    def minutes(self) -> tuple[float, float, float]:
        """Least, usual and most, by weight alone."""
        return self.pace.minutes(self.asked.weight)

    @property
    def bytes_stored(self) -> int:
        """Growth on disk, indexes included; rows that are asked for beside the missing ones are stored already."""
        new = min(self.asked.rows, sum(month.wanted for month in self.asked.months))
        return round(new * self.row.bytes)

    def refuse_over(self, ceiling: Ceiling) -> None:
        """Let a back-fill begin only within the ceiling.

        Raises:
            InvalidSetting: it would need more; nothing was asked.
        """
        weight, minutes = self.asked.weight, self.minutes[1]
        if weight > ceiling.weight:
            raise InvalidSetting(
                f"this back-fill needs {weight:,} weight ({self.asked.calls:,} requests), and HL_BACKFILL_MAX_WEIGHT "
                f"allows {ceiling.weight:,}: choose fewer markets or months, or raise it; nothing was asked"
            )
        if minutes > ceiling.minutes:
            raise InvalidSetting(
                f"this back-fill takes about {minutes:,.0f} minutes beside live collection ({weight:,} weight), and "
                f"HL_BACKFILL_MAX_MINUTES allows {ceiling.minutes}: choose fewer markets or months, or raise it; "
                "nothing was asked"
            )


def forecast_backfill(
    connection: Connection,
    now_ms: int,
    proof: ProofPolicy,
    budget: Budget,
    *,
    coins: Collection[str],
    intervals: Collection[Interval],
    window: Span,
    months: Sequence[Span] | None = None,
) -> BackfillForecast:
    """What ``fill`` with the same arguments would ask now; ``months`` are those the window touches by default.

    A series that is not in the ledger yet is taken to have all that the exchange keeps.
    """
    states = series.load(connection, coins=coins, intervals=intervals)
    asked = forecast(
        [*states, *_strangers(states, coins, intervals, now_ms)],
        now_ms,
        proof,
        window=window,
        months=months_in(window) if months is None else months,
        ledger=backfill.settled(connection, [state.series_id for state in states]),
    )
    floor = max(1, budget.weight * backfill.floor_percent(connection, Lane.BACKFILL) // 100)
    return BackfillForecast(asked, Pace(budget.weight, budget.live, floor), backfill.row_size(connection))


def unsettled_span(states: Sequence[SeriesState], now_ms: int) -> Span | None:
    """From the oldest slot that is not settled to now; null when every series is settled up to its newest slot."""
    oldest = [gap.span.start_ms for state in states for gap in state.gaps]
    oldest += [max(state.known_until_ms, state.expected_start_ms) for state in states if state.ended_ms is None]
    start = min(oldest, default=now_ms)
    return Span(start, now_ms) if start < now_ms else None


def _strangers(
    states: Sequence[SeriesState], coins: Collection[str], intervals: Collection[Interval], now_ms: int
) -> list[SeriesState]:
    """The series that nobody has made yet, under numbers no stored one has."""
    known = {state.key for state in states}
    keys = (SeriesKey(coin, interval) for coin, interval in product(coins, intervals))
    return [
        unknown_series(-number, key, now_ms)
        for number, key in zip(count(1), (key for key in keys if key not in known), strict=False)
    ]
