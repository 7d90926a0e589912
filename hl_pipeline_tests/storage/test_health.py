from __future__ import annotations

from hl_pipeline.health.report import report, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage import health
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline_tests.stored_world import NOW_MS, fill


def world(connection: Connection) -> None:
    fill(connection, ["BTC", "ETH"])
    connection.execute(
        "insert into hl.fetch (endpoint, request_type, coin, interval, asked_at, status, rows, latency_ms, http_status)"
        " values ('e', 'candleSnapshot', 'BTC', '1m', %s, 'landed', 60, 40, 200)",
        (to_datetime(NOW_MS - 20_000),),
    )
    connection.execute("insert into hl.rate_limit (key, max_weight) values ('k', 1164)")
    connection.execute(
        "insert into hl.rate_limit_spend (key, at, weight, lane) values ('k', clock_timestamp(), 21, 'live')"
    )


def test_a_whole_and_fresh_store_is_healthy(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        vitals = health.gather(connection, NOW_MS, 60.0)
        found = report(vitals)
        health.log(connection, NOW_MS, str(found.status), found.score, to_json(found))
        (logged,) = connection.execute("select status, score from hl.system_health_log")
    assert [v.sentence for v in found.verdicts if not v.passed] == []
    assert (found.status, found.score) == (Status.HEALTHY, 100)
    assert logged == ("healthy", 100)
    assert vitals.intervals[Interval.M1].newest_close_ms == NOW_MS - 20_000
    assert (vitals.budget_spent, vitals.fetch_p50_ms) == (21, 40)


def test_an_empty_store_is_judged_without_an_error(database: Database) -> None:
    with database.connection() as connection:
        assert report(health.gather(connection, NOW_MS, 60.0)).status is Status.DEGRADED


def test_a_delisted_market_is_not_stale(database: Database) -> None:
    later = NOW_MS + 6_000_000
    with database.connection() as connection:
        world(connection)
        assert not health_of(connection, later, "fresh_1m")
        connection.execute("update hl.market set is_delisted = true, delisted_seen = last_seen")
        assert health_of(connection, later, "fresh_1m")


def test_a_candle_last_read_while_it_was_open_does_not_make_its_series_fresh(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        connection.execute(
            "update hl.candle set finality = 'o' where open_time = %s and series_id in"
            " (select series_id from hl.series where interval = '5m')",
            (to_datetime(NOW_MS - 320_000),),
        )
        found = health.gather(connection, NOW_MS, 60.0)
    assert found.intervals[Interval.M5].newest_close_ms == NOW_MS - 320_000


def test_only_gaps_past_their_next_try_count_against_coverage(database: Database) -> None:
    statement = """
        insert into hl.gap (series_id, slots, reason, next_try, deadline)
        select series_id, tstzrange(%(now)s::timestamptz, %(now)s::timestamptz + step), 'absent', %(try)s, %(now)s
        from hl.series where interval = '1m'"""
    with database.connection() as connection:
        world(connection)
        connection.execute(statement, {"now": to_datetime(Interval.M1.floor(NOW_MS)), "try": to_datetime(NOW_MS)})
        assert health_of(connection, NOW_MS, "coverage_complete")
        assert not health_of(connection, NOW_MS + 200_000, "coverage_complete")


def test_a_candle_off_its_grid_breaks_the_contract(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        connection.execute(
            "update hl.candle set open_time = open_time + interval '1 second' where open_time = %s",
            (to_datetime(Interval.D1.floor(NOW_MS)),),
        )
        assert not health_of(connection, NOW_MS, "rows_keep_contract")


def health_of(connection: Connection, now_ms: int, name: str) -> bool:
    return next(v.passed for v in report(health.gather(connection, now_ms, 60.0)).verdicts if v.name == name)


def test_what_the_stream_lands_keeps_the_store_fresh_and_counts_as_no_request(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        connection.execute(
            "insert into hl.fetch (endpoint, request_type, asked_at, status, rows, latency_ms, http_status)"
            " values ('wss://e/ws', 'candle stream', %s, 'landed', 6, 0, 101)",
            (to_datetime(NOW_MS - 1_000),),
        )
        vitals = health.gather(connection, NOW_MS, 60.0)
    assert (vitals.fetches, vitals.fetch_p50_ms, vitals.last_landed_ms) == (1, 40, NOW_MS - 1_000)


def test_what_is_over_lowers_no_confidence(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        connection.execute("delete from hl.confidence")
        connection.execute(
            "insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)"
            " select series_id, %s, case when coin = 'BTC' then 1 else 0 end, 'good', 'agreement', '{}', '[]'"
            " from hl.series join hl.market using (market_id)",
            (to_datetime(NOW_MS),),
        )
        before = health.gather(connection, NOW_MS, 60.0).trust
        connection.execute("update hl.market set is_delisted = true, delisted_seen = last_seen where coin = 'ETH'")
        after = health.gather(connection, NOW_MS, 60.0).trust
    assert before is not None
    assert after is not None
    assert (before.mean_confidence, after.mean_confidence) == (0.5, 1.0)
