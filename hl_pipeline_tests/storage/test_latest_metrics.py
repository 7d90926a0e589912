from __future__ import annotations

from decimal import Decimal

import pytest

from hl_pipeline.derived.confidence import score
from hl_pipeline.model.interval import Interval
from hl_pipeline.storage import confidence, latest_metrics
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.stored_world import NOW_MS, fill, series_id


def test_every_metric_of_a_market_is_there_with_its_time_and_confidence(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC", "ETH"])
        scores = [score(i) for i in confidence.gather(connection, NOW_MS, 60.0)]
        confidence.store(connection, NOW_MS, scores)
        done = latest_metrics.refresh(connection)
        found = {(m.coin, m.metric): m for m in latest_metrics.read(connection)}
        statement = "select close from hl.candle where series_id = %s order by open_time desc limit 1"
        (close,) = connection.execute(statement, (series_id(connection, "BTC", Interval.M1),)).fetchone() or (None,)
    assert (done.refreshed, done.rows, done.high_confidence_rate) == (True, 32, 1.0)
    assert {metric for coin, metric in found if coin == "BTC"} == {
        "last", "change_24h", "volume_24h", "volume_24h_notional", "volatility", "mark", "oracle", "mid", "funding",
        "open_interest", "close_1m", "close_5m", "close_15m", "close_1h", "close_4h", "close_1d",
    }  # fmt: skip
    assert found["BTC", "last"].value == close
    assert found["BTC", "last"].as_of_ms == NOW_MS - 20_000
    assert found["BTC", "close_1d"].as_of_ms == Interval.D1.floor(NOW_MS)
    assert found["BTC", "volume_24h"].value == Decimal("2160")
    assert found["BTC", "volatility"].value > 0
    assert found["ETH", "mark"].source == "context"
    assert {m.grade for m in found.values()} == {"excellent"}


def test_change_is_measured_against_the_close_a_day_before(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        which = series_id(connection, "BTC", Interval.M1)
        statement = "update hl.candle set {} where series_id = %s and open_time = to_timestamp(%s)"
        for back, price in ((0, 130), (86_400, 104)):
            changed = statement.format(f"open = {price}, high = {price}, low = {price}, close = {price}")
            connection.execute(changed.encode(), (which, Interval.M1.floor(NOW_MS) / 1000 - 60 - back))
        latest_metrics.refresh(connection)
        found = {m.metric: m for m in latest_metrics.read(connection)}
    assert found["change_24h"].value == Decimal("0.25")


def test_an_empty_database_has_no_metrics_and_refreshes_all_the_same(database: Database) -> None:
    with database.connection() as connection:
        assert latest_metrics.refresh(connection)[:2] == (True, 0)


def test_an_unfilled_view_is_filled_first(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("refresh materialized view hl.latest_metrics with no data")
        assert latest_metrics.refresh(connection).refreshed


def test_only_one_session_refreshes_at_a_time(database: Database) -> None:
    with database.connection() as first, database.connection() as second:
        assert latest_metrics.refresh(first).refreshed
        assert not latest_metrics.refresh(second).refreshed


@pytest.mark.parametrize("missing", ["hl.market_context", "hl.candle"])
def test_what_was_never_collected_is_left_out_not_made_up(database: Database, missing: str) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        connection.execute(f"delete from {missing}".encode())
        latest_metrics.refresh(connection)
        metrics = {m.metric for m in latest_metrics.read(connection)}
    assert ("mark" in metrics) is (missing == "hl.candle")
    assert ("last" in metrics) is (missing == "hl.market_context")
