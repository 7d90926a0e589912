"""The forecast against the fill that follows, on a real Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.forecast import BackfillForecast, Budget, Ceiling, forecast_backfill, unsettled_span
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable, InvalidSetting
from hl_pipeline.model.forecast import Source
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.storage import backfill, candles, series
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

#: 2026-01-10T12:00:20Z, and 2025-10-01 to 2026-01-11.
NOW = 1_768_046_420_000
QUARTER = Span(1_759_276_800_000, 1_768_089_600_000)
INTERVALS = (Interval.M1, Interval.H1, Interval.D1)
POLICY = FillPolicy(lane="backfill")


class Bench:
    def __init__(self, database: Database) -> None:
        self.database, self.clock = database, ManualClock(NOW)
        self.exchange = FakeExchange(self.clock, markets=[market("BTC"), market("ETH")])

    def track(self) -> None:
        refresh_markets(self.exchange, self.database, self.clock, coins=("BTC", "ETH"), intervals=INTERVALS)

    def forecast(self) -> BackfillForecast:
        with self.database.connection() as connection:
            return forecast_backfill(
                connection, NOW, POLICY.proof, Budget(1164, 146), coins=("BTC",), intervals=INTERVALS, window=QUARTER
            )

    def fill(self) -> None:
        self.report = fill(
            self.exchange, self.database, self.clock, POLICY, coins=("BTC",), intervals=INTERVALS, window=QUARTER
        )


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def test_a_run_asks_what_was_forecast(bench: Bench) -> None:
    bench.track()
    made = bench.forecast()
    bench.fill()
    assert (bench.report.landed, bench.report.weight) == (made.asked.calls, made.asked.weight)
    assert bench.report.received == made.asked.rows
    wanted = sum(month.wanted for month in made.asked.months)
    assert wanted <= bench.report.settled_final <= wanted + 2 * 15, "and the margins before October"


def test_before_anything_is_known_the_forecast_is_the_same_and_nothing_is_asked(bench: Bench) -> None:
    before = bench.forecast()
    assert bench.exchange.requests == []
    bench.track()
    assert bench.forecast() == before


def test_what_a_run_left_is_all_that_is_forecast_for_the_next(bench: Bench) -> None:
    bench.track()
    bench.exchange.error = lambda request: (
        ExchangeUnavailable("down") if request.series.interval is Interval.H1 else None
    )
    bench.fill()
    left = bench.forecast()
    assert (left.asked.calls, left.asked.weight) == (1, 20 + -(-left.asked.rows // 60))
    assert {month.key.interval for month in left.asked.months if month.wanted} == {Interval.H1}
    gone = [month.key.interval for month in left.asked.nothing_to_have]
    assert gone == [Interval.M1] * 3, "October to December"
    january = next(m for m in left.asked.months if m.key.interval is Interval.M1 and m.source is Source.HELD)
    assert january.settled.final == 4999


def test_a_forecast_over_the_ceiling_is_refused_with_value_rule_and_next_step(bench: Bench) -> None:
    bench.track()
    made = bench.forecast()
    made.refuse_over(Ceiling(weight=made.asked.weight, minutes=1))
    with pytest.raises(InvalidSetting, match=r"needs \d+ weight .* HL_BACKFILL_MAX_WEIGHT allows 100: choose fewer"):
        made.refuse_over(Ceiling(weight=100, minutes=1))
    slow = replace(made, pace=replace(made.pace, budget=60, live=50, floor=3))
    with pytest.raises(InvalidSetting, match=r"takes about .* minutes .* HL_BACKFILL_MAX_MINUTES allows 5:"):
        slow.refuse_over(Ceiling(weight=40_000, minutes=5))


def test_the_floor_is_the_lane_s_share_in_the_database(bench: Bench) -> None:
    assert bench.forecast().pace.floor == 1164 * 5 // 100


def test_bytes_a_row_are_measured_once_there_are_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.track()
    made = bench.forecast()
    assert made.row == (backfill.USUAL_ROW_BYTES, 0)
    assert made.bytes_stored == sum(month.wanted for month in made.asked.months) * backfill.USUAL_ROW_BYTES
    bench.fill()
    with bench.database.autocommit() as connection:
        candles.analyze(connection)
    monkeypatch.setattr(backfill, "MEASURABLE_ROWS", 5_000)
    with bench.database.connection() as connection:
        size = backfill.row_size(connection)
    assert size.measured_rows == bench.report.inserted
    assert 100 < size.bytes < 300


def test_what_is_unsettled_begins_at_the_oldest_hole(bench: Bench) -> None:
    bench.track()
    fill(bench.exchange, bench.database, bench.clock, POLICY)
    with bench.database.connection() as connection:
        states = series.load(connection, coins=("BTC",), intervals=(Interval.H1,))
    assert unsettled_span(states, NOW) == Span(Interval.H1.floor(NOW), NOW)
    assert unsettled_span([], NOW) is None
