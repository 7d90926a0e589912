"""Every service level is measured from rows of its own, inside its window and no further."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from hl_pipeline.health.service_levels import OBJECTIVES, WINDOWS
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.service_level import Measured
from hl_pipeline.storage import service_levels
from hl_pipeline.storage.engine import Connection, Database

NOW = 1_768_046_420_000  # 2026-01-10T12:00:20Z
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SERIES = """
with market as (
    insert into hl.market (coin, kind, sz_decimals, tracked, first_seen, last_seen)
    values (%(coin)s, 'perp', 2, true, now(), now())
    returning market_id
)
insert into hl.series (market_id, interval, step, tracked_from, first_open, ended_at, known_until)
select market_id, '1m', interval '1 minute', %(from)s, null, %(ended)s, %(from)s from market
returning series_id
"""


def measure(database: Database, hours: int = 24) -> dict[str, Measured]:
    with database.connection() as connection:
        return service_levels.measure(connection, NOW, timedelta(hours=hours), OBJECTIVES)


def parts(found: Measured) -> tuple[object, ...]:
    return found.events, found.bad, found.figure


def put(connection: Connection, statement: str, **values: Any) -> Any:
    row = connection.execute(statement.encode(), values)
    return row.fetchone() if row.description else None


def run(connection: Connection, number: int, ago_ms: int, *, candles: int, memory_mb: float = 150) -> None:
    put(
        connection,
        """
        insert into hl.performance_history (
            run_id, lane, started_at, asked_from, succeeded, seconds, requests, failed, refused, weight, candles,
            peak_memory_mb, cpu_seconds
        ) values (%(run)s, 'live', %(at)s, now(), true, 10, 10, 1, 0, 210, %(candles)s, %(memory)s, 1)
        """,
        run=str(number),
        at=to_datetime(NOW - ago_ms),
        candles=candles,
        memory=memory_mb,
    )


def test_an_empty_database_has_nothing_to_measure(database: Database) -> None:
    for length in WINDOWS.values():
        found = measure(database, round(length.total_seconds()) // 3600)
        assert found == {name: Measured(0, 0, None) for name in OBJECTIVES}


def test_runs_count_by_their_speed_size_and_failures_inside_the_window(database: Database) -> None:
    with database.connection() as connection:
        run(connection, 1, HOUR_MS, candles=600)
        run(connection, 2, HOUR_MS, candles=200)
        run(connection, 3, HOUR_MS, candles=0)
        run(connection, 4, HOUR_MS, candles=600, memory_mb=2048)
        run(connection, 5, 25 * HOUR_MS, candles=10, memory_mb=5000)
        run(connection, 6, -HOUR_MS, candles=10, memory_mb=5000)
    found = measure(database)
    assert parts(found["throughput"]) == (3, 1, pytest.approx(1400 / 30))
    assert found["memory"] == Measured(4, 1, 2048)
    assert found["errors"] == Measured(40, 4, 10)
    assert measure(database, 48)["memory"] == Measured(5, 2, 5000)


def test_latency_is_of_answered_candle_requests(database: Database) -> None:
    asked = """
        insert into hl.fetch (endpoint, request_type, asked_at, status, latency_ms, recorded_at)
        values ('https://a', %(kind)s, now(), %(status)s, %(latency)s, clock_timestamp() - %(ago)s::interval)
    """
    with database.connection() as connection:
        for latency, kind, status, ago in (
            (100, "candleSnapshot", "landed", 0), (1000, "candleSnapshot", "landed", 23),
            (1001, "candleSnapshot", "landed", 1),
            (9000, "metaAndAssetCtxs", "landed", 0), (None, "candleSnapshot", "failed", 0),
            (9000, "candleSnapshot", "landed", 25),
        ):  # fmt: skip
            put(connection, asked, latency=latency, kind=kind, status=status, ago=timedelta(hours=ago))
    found = measure(database)["latency"]
    assert (found.events, found.bad) == (3, 1)
    assert found.figure == pytest.approx(1000.98)


def series(connection: Connection, coin: str, from_ms: int, ended_ms: int | None = None) -> int:
    ended = None if ended_ms is None else to_datetime(ended_ms)
    number = put(connection, SERIES, coin=coin, ended=ended, **{"from": to_datetime(from_ms)})
    return int(number[0])


def cover(connection: Connection, series_id: int, column: str, from_ms: int, until_ms: int) -> None:
    put(
        connection,
        "insert into hl.coverage (series_id, month, " + column + ") values (%(series)s, '2026-01-01',"
        " tstzmultirange(tstzrange(%(from)s, %(until)s))) on conflict (series_id, month) do update set "
        + column + " = excluded." + column,
        series=series_id,
        until=to_datetime(until_ms),
        **{"from": to_datetime(from_ms)},
    )  # fmt: skip


def test_coverage_counts_the_windows_slots_up_to_a_quarter_of_an_hour_ago(database: Database) -> None:
    noon = NOW - NOW % MINUTE_MS
    with database.connection() as connection:
        one = series(connection, "BTC", noon - 90 * MINUTE_MS)
        cover(connection, one, "final", noon - 90 * MINUTE_MS, noon - 60 * MINUTE_MS)
        cover(connection, one, "empty", noon - 60 * MINUTE_MS, noon - 50 * MINUTE_MS)
        cover(connection, one, "lost", noon - 50 * MINUTE_MS, noon - 40 * MINUTE_MS)
        put(
            connection,
            "insert into hl.gap (series_id, slots, reason, next_try, deadline) values"
            " (%(series)s, tstzrange(%(a)s, %(b)s), 'provisional', %(later)s, %(later)s),"
            " (%(series)s, tstzrange(%(b)s, %(c)s), 'unpublished', %(later)s, %(later)s)",
            series=one,
            a=to_datetime(noon - 40 * MINUTE_MS),
            b=to_datetime(noon - 20 * MINUTE_MS),
            c=to_datetime(noon),
            later=to_datetime(noon + HOUR_MS),
        )
        series(connection, "OLD", noon - 9 * DAY_MS, ended_ms=noon - 8 * DAY_MS)
    # 90 slots, less the newest 15; 10 of them lost and 5 not there yet
    assert parts(measure(database)["coverage"]) == (75, 15, pytest.approx(80))
    assert parts(measure(database, 1)["coverage"]) == (45, 15, pytest.approx(100 * 30 / 45))


def log(connection: Connection, ago_ms: int, **fresh: bool) -> None:
    checks = [{"name": f"fresh_{name}", "passed": passed} for name, passed in fresh.items()]
    put(
        connection,
        "insert into hl.system_health_log (logged_at, status, score, report)"
        " values (%(at)s, 'healthy', 99, %(report)s)",
        at=to_datetime(NOW - ago_ms),
        report=Jsonb({"checks": [*checks, {"name": "api_answers", "passed": False}]}),
    )


@pytest.mark.parametrize("second", [0, 10, 20, 30, 59])
def test_who_was_fresh_every_minute_has_no_bad_one(database: Database, second: int) -> None:
    with database.connection() as connection:
        for minute in range(1, 63):
            log(connection, minute * MINUTE_MS + 20_000 - 1000 * second, m1=True)
    assert parts(measure(database, 1)["freshness"]) == (60, 0, 100)


def test_a_minute_is_fresh_when_the_log_says_so_of_every_interval(database: Database) -> None:
    with database.connection() as connection:
        log(connection, 10 * MINUTE_MS, m1=True, h1=True)
        log(connection, 9 * MINUTE_MS, m1=True, h1=False)
        log(connection, 8 * MINUTE_MS)  # says nothing of freshness
        log(connection, 7 * MINUTE_MS, m1=True)
    found = measure(database)["freshness"]
    assert parts(found) == (10, 8, pytest.approx(20)), "six minutes without a line count as not fresh"


def test_minutes_before_the_window_or_before_the_first_line_do_not_count(database: Database) -> None:
    with database.connection() as connection:
        log(connection, 30 * HOUR_MS, m1=True)
        log(connection, HOUR_MS, m1=True)
    assert measure(database)["freshness"].events == 24 * 60
    assert measure(database, 48)["freshness"].events == 30 * 60
    assert measure(database, 48)["freshness"].bad == 30 * 60 - 2


def test_confidence_is_the_mean_of_each_hour_of_each_series(database: Database) -> None:
    with database.connection() as connection:
        one, other = series(connection, "BTC", NOW - DAY_MS), series(connection, "ETH", NOW - DAY_MS)
        for series_id, ago_ms, score in (
            (one, 30 * MINUTE_MS, 0.9), (one, 20 * MINUTE_MS, 0.6), (one, 25 * HOUR_MS, 0.1),
            (other, 30 * MINUTE_MS, 0.5), (other, 5 * HOUR_MS, 1.0),
        ):  # fmt: skip
            put(
                connection,
                "insert into hl.confidence values (%(series)s, %(at)s, %(score)s, 'good', 'freshness', '{}', '{}')",
                series=series_id,
                at=to_datetime(NOW - ago_ms),
                score=score,
            )
    assert parts(measure(database)["confidence"]) == (3, 1, pytest.approx(100 * 2 / 3))


def test_repair_counts_what_people_were_told_of_and_what_stays_open_too_long(database: Database) -> None:
    with database.connection() as connection:
        for opened_ms, resolved_ms, told in (
            (3 * HOUR_MS, 3 * HOUR_MS - 20 * MINUTE_MS, "error"),  # repaired in 20 minutes
            (4 * HOUR_MS, 2 * HOUR_MS, "critical"),  # late
            (30 * HOUR_MS, 29 * HOUR_MS, "error"),  # over before the window
            (2 * HOUR_MS, None, "warning"),  # open too long
            (HOUR_MS // 2, None, "warning"),  # open, and may be
            (5 * HOUR_MS, None, "info"),
            (6 * HOUR_MS, None, None),  # nobody was told
        ):
            put(
                connection,
                "insert into hl.alert_incident (rule, group_key, opened_at, told_severity, resolved_at)"
                " values ('stale', jsonb_build_object('n', %(n)s::bigint), %(opened)s, %(told)s, %(resolved)s)",
                n=opened_ms,
                opened=to_datetime(NOW - opened_ms),
                told=told,
                resolved=None if resolved_ms is None else to_datetime(NOW - resolved_ms),
            )
    assert parts(measure(database)["repair"]) == (3, 2, pytest.approx(70))
