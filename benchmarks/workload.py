"""Workload W1: 20 coins x six intervals, everything the exchange holds of 90 days, served by a sandbox at once.

The sandbox runs in a process of its own under a clock that stands still, keeps
its encoded answers and limits nothing, so what is timed is the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.tariff import request_weight
from hl_pipeline.sandbox.process import SandboxProcess

NOW_MS = 1_785_067_220_000  # 2026-07-26T12:00:20Z
HISTORY_DAYS = 90
COINS = (
    "BTC", "ETH", "SOL", "ARB", "OP", "AVAX", "ATOM", "BNB", "APT", "SUI",
    "DOGE", "XRP", "LINK", "LTC", "AAVE", "CRV", "INJ", "DYDX", "WLD", "HYPE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """Where the exchange is, and what is asked of it."""

    url: str
    series: tuple[SeriesKey, ...]


@contextmanager
def served() -> Iterator[Workload]:
    """The workload on a sandbox that has its answers ready."""
    arguments = (
        "--manual-clock-ms", str(NOW_MS), "--history-days", str(HISTORY_DAYS), "--limiter", "off",
        "--instant", "--quiet-mode", "dense", "--prewarm", ",".join(COINS),
    )  # fmt: skip
    with SandboxProcess(*arguments) as sandbox:
        yield Workload(sandbox.url, tuple(SeriesKey(coin, interval) for coin in COINS for interval in Interval))


def ideal_weight(rows_by_series: dict[SeriesKey, int]) -> int:
    """Weight of the cheapest plan: one request a series, tariff rounded up."""
    return sum(request_weight("candleSnapshot", rows) for rows in rows_by_series.values())
