from __future__ import annotations

from datetime import timedelta

import pytest

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span
from hl_pipeline.storage import coverage, health, status_page
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline_tests.stored_world import NOW_MS, fill

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TODAY = to_datetime(NOW_MS // DAY_MS * DAY_MS)


def world(connection: Connection, coins: list[str]) -> None:
    """The stored world, without its one hole: the first minute, of which it holds no candle."""
    fill(connection, coins)
    connection.execute("update hl.series set tracked_from = tracked_from + step where interval = '1m'")


def days(connection: Connection, now_ms: int = NOW_MS, count: int = 14) -> dict[str, list[tuple[str, int, int]]]:
    found = status_page.market_days(connection, now_ms, days=count, settle_ms=10_000, period_ms=60_000)
    return {line.coin: [(day.state, day.due, day.settled) for day in line.days] for line in found}


def forget(connection: Connection, interval: str, hours_ago: int) -> None:
    """An hour of BTC is in the ledger no more."""
    until = to_datetime(NOW_MS // HOUR_MS * HOUR_MS - hours_ago * HOUR_MS)
    connection.execute(
        "update hl.coverage set final = final - tstzmultirange(tstzrange(%s, %s)) from hl.series join hl.market"
        " using (market_id) where coverage.series_id = series.series_id and coin = 'BTC' and interval = %s",
        (until - timedelta(hours=1), until, interval),
    )


def test_whole_days_are_final_and_days_before_the_tracking_are_none(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC", "ETH"])
        found = days(connection, count=40)
    assert sorted(found) == ["BTC", "ETH"]
    states = [state for state, _, _ in found["BTC"]]
    assert states == ["none"] * 9 + ["final"] * 31
    assert all(due == settled for line in found.values() for _, due, settled in line)
    _, due, _ = found["BTC"][-2]
    assert due == 1440 + 288 + 96 + 24 + 6 + 1


def test_a_hole_shows_on_its_day_and_on_no_other(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC", "ETH"])
        forget(connection, "1m", hours_ago=20)
        found = days(connection)
    assert [state for state, _, _ in found["BTC"]] == ["final"] * 12 + ["missing", "final"]
    _, due, settled = found["BTC"][12]
    assert due - settled == 60
    assert {state for state, _, _ in found["ETH"]} == {"final"}


def test_what_is_lost_is_told_apart_from_what_is_missing(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC"])
        connection.execute(
            "update hl.coverage set lost = final, final = '{}' from hl.series"
            " where coverage.series_id = series.series_id and interval = '1d'"
        )
        found = days(connection)
    assert {state for state, _, _ in found["BTC"][:-1]} == {"lost"}
    assert found["BTC"][-1][0] == "final", "today's daily candle is not due yet"


def test_slots_that_are_younger_than_two_periods_are_not_missing_yet(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC"])
        young, old = days(connection, NOW_MS + 120_000), days(connection, NOW_MS + 240_000)
    assert (young["BTC"][-1][0], old["BTC"][-1][0]) == ("final", "missing")


def test_each_series_is_told_and_adds_up_to_its_interval(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC", "ETH"])
        forget(connection, "1h", hours_ago=5)
        rows = status_page.series_standing(connection, NOW_MS, 10_000)
        sums = {row.interval: row for row in coverage.by_interval(connection, NOW_MS, 10_000)}
    assert [(row.coin, row.interval) for row in rows] == [(coin, i) for coin in ("BTC", "ETH") for i in Interval]
    for interval, found in sums.items():
        mine = [row for row in rows if row.interval is interval]
        assert sum(row.due for row in mine) == found.due
        assert sum(row.settled for row in mine) == found.final + found.empty
    (hole,) = [row for row in rows if row.due != row.settled]
    assert (hole.coin, hole.interval, hole.due - hole.settled) == ("BTC", Interval.H1, 1)
    assert all(row.newest_close_ms is not None and not row.is_over and row.confidence is None for row in rows)


def test_a_market_that_ended_is_over(database: Database) -> None:
    with database.connection() as connection:
        world(connection, ["BTC"])
        connection.execute("update hl.series set ended_at = %s", (TODAY,))
        rows = status_page.series_standing(connection, NOW_MS, 10_000)
    assert all(row.is_over for row in rows)


def test_weight_is_counted_by_lane_in_its_step(database: Database) -> None:
    spent = [(5, "live", 21), (5, "live", 20), (20, "gap", 30), (20, "live", 4), (59, "live", 9), (61, "live", 500)]
    with database.connection() as connection:
        for minutes_ago, lane, weight in spent:
            connection.execute(
                "insert into hl.fetch (endpoint, request_type, lane, asked_at, weight)"
                " values ('e', 'candleSnapshot', %s, %s, %s)",
                (lane, to_datetime(NOW_MS - minutes_ago * 60_000), weight),
            )
        use = status_page.weight_use(connection, Span(NOW_MS - HOUR_MS, NOW_MS), HOUR_MS // 4, 17_460)
    assert use.by_lane == [{"live": 9}, {}, {"gap": 30, "live": 4}, {"live": 41}]


@pytest.mark.parametrize(("age_minutes", "mean"), [(10, 0.8), (119, 0.8), (121, None)])
def test_a_score_holds_until_it_is_two_hours_old(database: Database, age_minutes: int, mean: float | None) -> None:
    with database.connection() as connection:
        world(connection, ["BTC"])
        connection.execute(
            "insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)"
            " select series_id, %s, case interval when '1m' then 0.3 else 0.9 end, 'fair', 'freshness', '{}', '[]'"
            " from hl.series",
            (to_datetime(NOW_MS - age_minutes * 60_000),),
        )
        found = status_page.trust_history(connection, Span(NOW_MS - HOUR_MS, NOW_MS), HOUR_MS // 2)
    assert len(found.mean) == len(found.lowest) == 2
    assert found.mean[-1] == (None if mean is None else pytest.approx(mean))
    assert found.lowest[-1] == (None if mean is None else pytest.approx(0.3))


@pytest.mark.parametrize(("age_s", "found"), [(0, True), (299, True), (300, False), (-1, False)])
def test_a_health_report_counts_for_five_minutes(database: Database, age_s: int, found: bool) -> None:
    with database.connection() as connection:
        health.log(connection, NOW_MS - 1000 * age_s, "healthy", 100, {"status": "healthy"})
        assert status_page.newest_health(connection, NOW_MS) == ({"status": "healthy"} if found else None)


def test_an_empty_store_has_nothing_to_tell(database: Database) -> None:
    with database.connection() as connection:
        assert days(connection) == {}
        assert status_page.series_standing(connection, NOW_MS, 10_000) == []
        assert status_page.trust_history(connection, Span(NOW_MS - HOUR_MS, NOW_MS), HOUR_MS).mean in ([], [None])
