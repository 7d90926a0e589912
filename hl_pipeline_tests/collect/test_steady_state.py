"""A day without the stream: what one market costs, re-reads and the daily reads of larger intervals included."""

from __future__ import annotations

from benchmarks.steady_state import DAY_MS, MOST_A_MARKET_DAY, NAIVE, simulate
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.storage.engine import Database


def test_a_market_day_at_five_minutes_costs_less_than_a_fifth_of_the_naive_pollers(database: Database) -> None:
    found = simulate(database, markets=1, period_ms=5 * MINUTE_MS, hours=24)
    assert found.ticks == DAY_MS // (5 * MINUTE_MS)
    assert found.market_day <= MOST_A_MARKET_DAY
    assert found.market_day < NAIVE / 5
    assert found.refused == 0
    # 288 reads of the edge alone: were the figure below them, ticks would be missing
    assert found.market_day > 288 * 21
