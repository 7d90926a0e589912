"""Slots that the exchange forgets before they are read: an alert a series, in the ledger's own transaction."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import DatabaseUnavailable, ExchangeUnavailable
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval
from hl_pipeline.storage.alerts import OpenAlert, open_alerts
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market, series

MINUTE = 60_000
DAY = 1440 * MINUTE
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
FORGOTTEN = 4 * 1440 - (WINDOW_SLOTS - 1)


class Bench(NamedTuple):
    database: Database
    clock: ManualClock
    exchange: FakeExchange

    def fill(self) -> FillReport:
        return fill(self.exchange, self.database, self.clock, FillPolicy(concurrency=2))

    def alerts(self) -> list[OpenAlert]:
        with self.database.connection() as connection:
            return [alert for alert in open_alerts(connection) if alert.rule == "slots_lost"]

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def bench(database: Database) -> Bench:
    coins = ("BTC", "ETH")
    clock = ManualClock(NOON + 20_000)
    exchange = FakeExchange(clock, markets=[market(coin) for coin in coins])
    refresh_markets(exchange, database, clock, coins=coins, intervals=[Interval.M1, Interval.M5])
    made = Bench(database, clock, exchange)
    made.fill()
    return made


def test_four_days_of_silence_are_one_alert_a_series_that_says_what_is_gone(bench: Bench) -> None:
    bench.clock.advance(4 * DAY)
    assert bench.fill().lost == 2 * FORGOTTEN
    found = sorted(bench.alerts(), key=lambda alert: alert.summary)
    assert [(alert.rule, alert.severity, alert.times_seen) for alert in found] == [("slots_lost", "error", 1)] * 2
    assert found[0].summary.startswith(
        "BTC 1m: 761 slots lost between 2026-01-01 12:00 and 2026-01-02 00:41 UTC: the exchange forgot them"
    )
    assert found[1].summary.startswith("ETH 1m: 761 slots")
    assert "hl gaps" in found[0].next_step
    labels = bench.rows("select labels->>'coin', labels->>'interval' from hl.alert order by 1")
    assert labels == [("BTC", "1m"), ("ETH", "1m")]


def test_nothing_lost_raises_no_alert(bench: Bench) -> None:
    bench.clock.advance(3 * DAY)
    assert bench.fill().lost == 0
    assert bench.alerts() == []


def test_a_second_loss_of_a_series_counts_on_the_alert_that_is_open(bench: Bench) -> None:
    for _ in range(2):
        bench.clock.advance(4 * DAY)
        bench.fill()
    found = bench.alerts()
    assert [alert.times_seen for alert in found] == [2, 2]
    assert all("761 slots lost" in alert.summary and "1,522 lost of this series" in alert.summary for alert in found)


def test_a_gap_of_a_series_that_has_ended_is_lost_with_an_alert(bench: Bench) -> None:
    hidden = {(series("ETH"), NOON + minute * MINUTE) for minute in range(3, 8)}
    bench.exchange.hidden |= hidden
    bench.exchange.ends_at["ETH"] = NOON + 60 * MINUTE
    bench.exchange.universe = [market("BTC"), market("ETH", is_delisted=True)]
    bench.clock.advance(60 * MINUTE)
    refresh_markets(
        bench.exchange, bench.database, bench.clock, coins=["BTC", "ETH"], intervals=[Interval.M1, Interval.M5]
    )
    with bench.database.connection() as connection:  # such a series' absent slots are never proven empty
        connection.execute(b"update hl.series set emits_quiet_rows = true")
    bench.clock.advance(180 * MINUTE)
    bench.fill()
    ended = "select ended_at is not null from hl.series join hl.market using (market_id) where coin = 'ETH'"
    assert bench.rows(ended) == [(True,), (True,)]
    for _ in range(4):
        bench.clock.advance(DAY)
        bench.fill()
    assert [alert.summary.split(" between")[0] for alert in bench.alerts()] == ["ETH 1m: 5 slots lost"]


def test_no_loss_is_entered_whose_alert_could_not_be_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DatabaseUnavailable("the connection broke")

    monkeypatch.setattr("hl_pipeline.collect.land.alerts.raise_alert", refuse)
    bench.clock.advance(4 * DAY)
    with pytest.raises(DatabaseUnavailable):
        bench.fill()
    assert bench.rows("select count(*) from hl.coverage where not isempty(lost)") == [(0,)]
    monkeypatch.undo()
    bench.fill()
    assert len(bench.alerts()) == 2


def test_an_exchange_that_stays_down_adds_to_one_alert(bench: Bench) -> None:
    bench.exchange.error = lambda _: ExchangeUnavailable("down")
    bench.clock.advance(4 * DAY)
    lost = bench.fill().lost
    bench.clock.advance(10 * MINUTE)
    assert bench.fill().lost == 20
    assert lost == 2 * FORGOTTEN
    assert all("10 slots lost" in alert.summary and "771 lost" in alert.summary for alert in bench.alerts())


def test_a_loss_is_over_when_a_day_went_by_without_another(bench: Bench) -> None:
    bench.clock.advance(4 * DAY)
    bench.fill()
    bench.clock.advance(DAY - 1)
    bench.fill()
    assert len(bench.alerts()) == 2, "a day is not over"
    bench.clock.advance(1)
    bench.fill()
    assert bench.alerts() == []
    assert bench.rows("select count(*) from hl.alert where resolved_at - last_seen = interval '1 day'") == [(2,)]
    assert bench.rows("select sum(hl.slots_in(lost, interval '1 minute')) from hl.coverage") == [(2 * FORGOTTEN,)]


def test_a_loss_that_goes_on_stays_open_and_a_later_one_is_a_new_incident(bench: Bench) -> None:
    bench.exchange.error = lambda _: ExchangeUnavailable("down")
    bench.clock.advance(4 * DAY)
    for _ in range(3):
        bench.clock.advance(DAY // 2)
        bench.fill()
    assert [alert.times_seen for alert in bench.alerts()] == [3, 3]
    bench.exchange.error = lambda _: None
    for _ in range(3):
        bench.clock.advance(DAY // 2)
        bench.fill()
    assert bench.alerts() == []
    bench.clock.advance(4 * DAY)
    bench.fill()
    assert [alert.times_seen for alert in bench.alerts()] == [1, 1]
