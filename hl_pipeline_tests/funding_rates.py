"""An exchange that knows nothing but funding rates, and pages them as the real one does."""

from __future__ import annotations

from collections.abc import Callable

from hl_pipeline.model.answer import Receipt, RejectedRow
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.market import FundingRate
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS, request_weight
from hl_pipeline_tests.fakes import receipt

HOUR = 3_600_000


def hourly(coin: str, first_ms: int, count: int, *, late_ms: int = 7) -> list[FundingRate]:
    """``count`` rates from the hour at ``first_ms`` on, each ``late_ms`` after its hour."""
    return [
        FundingRate(coin, first_ms + number * HOUR + late_ms, f"0.0000{number % 90 + 10}", "0.0001")
        for number in range(count)
    ]


class FundingExchange:
    """Answers with the oldest page of the asked span, and remembers what was asked: (coin, start, end, lane)."""

    def __init__(self, *rates: list[FundingRate]) -> None:
        self.rates = [rate for some in rates for rate in some]
        self.asked: list[tuple[str, int, int, str]] = []
        self.error: Callable[[str, int], PipelineError | None] = lambda coin, start_ms: None
        self.rejected: list[RejectedRow] = []
        self.stray: list[FundingRate] = []

    def funding_history(
        self, coin: str, start_ms: int, end_ms: int, *, lane: str = "live"
    ) -> tuple[list[FundingRate], list[RejectedRow], Receipt]:
        self.asked.append((coin, start_ms, end_ms, lane))
        error = self.error(coin, start_ms)
        if error is not None:
            raise error
        found = [rate for rate in self.rates if rate.coin == coin and start_ms <= rate.time_ms < end_ms]
        page = sorted(found, key=lambda rate: rate.time_ms)[:FUNDING_PAGE_ROWS] + self.stray
        return page, list(self.rejected), receipt(request_weight("fundingHistory", len(page)))
