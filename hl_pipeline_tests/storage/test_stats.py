from __future__ import annotations

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage import health, stats
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.stats import Followed, PipelineStats, follow_gaps
from hl_pipeline_tests.stored_world import NOW_MS, fill, series_id

MINUTE = 60_000
#: Ten slots, the last of which closed ten minutes before NOW_MS.
FIRST = Interval.M1.floor(NOW_MS) - 20 * MINUTE
SLOTS = 10


def world(connection: Connection) -> int:
    """BTC's minutes, tracked for half a day; its series."""
    fill(connection, ["BTC"])
    connection.execute(
        "update hl.series set tracked_from = %s::timestamptz - interval '12 hours' - 4999 * step", (now(),)
    )
    return series_id(connection, "BTC", Interval.M1)


def now(shift_ms: int = 0) -> object:
    return to_datetime(NOW_MS + shift_ms)


def tear(connection: Connection, series: int, first_ms: int = FIRST, slots: int = SLOTS) -> None:
    """The slots become a gap that was asked for and found absent."""
    span = (to_datetime(first_ms), to_datetime(first_ms + slots * MINUTE))
    connection.execute(
        "update hl.coverage set final = final - tstzrange(%s, %s)::tstzmultirange where series_id = %s",
        (*span, series),
    )
    connection.execute(
        "insert into hl.gap (series_id, slots, reason, next_try, deadline) values (%s, tstzrange(%s, %s), 'absent',"
        " %s, %s)",
        (series, *span, now(), now(86_400_000)),
    )


def settle(connection: Connection, series: int, state: str, first_ms: int, slots: int) -> None:
    """The slots leave the gap for a state of the ledger; the rest of the gap stays."""
    span = (to_datetime(first_ms), to_datetime(first_ms + slots * MINUTE))
    gaps = connection.execute("delete from hl.gap where series_id = %s returning slots", (series,)).fetchall()
    for (gap,) in gaps:
        connection.execute(
            "insert into hl.gap (series_id, slots, reason, next_try, deadline) select %s, rest, 'absent', %s, %s"
            " from unnest(%s::tstzrange::tstzmultirange - tstzrange(%s, %s)::tstzmultirange) as rest",
            (series, now(), now(86_400_000), gap, *span),
        )
    kept = {
        "final": "update hl.coverage set final = final + tstzrange(%s, %s)::tstzmultirange where series_id = %s",
        "empty": "update hl.coverage set empty = empty + tstzrange(%s, %s)::tstzmultirange where series_id = %s",
        "lost": "update hl.coverage set lost = lost + tstzrange(%s, %s)::tstzmultirange where series_id = %s",
    }
    month = " and month = date_trunc('month', %s::timestamptz)::date"
    connection.execute((kept[state] + month).encode(), (*span, series, span[0]))


def follow(connection: Connection, shift_ms: int = 0) -> Followed:
    return follow_gaps(connection, NOW_MS + shift_ms, settle_ms=10_000, period_ms=MINUTE)


def episodes(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("select outcome, found_at, closed_at from hl.gap_episode order by episode_id").fetchall()


def test_a_gap_is_one_episode_from_found_to_filled_however_often_one_looks(database: Database) -> None:
    with database.connection() as connection:
        series = world(connection)
        assert follow(connection) == (0, 0)
        tear(connection, series)
        assert follow(connection) == (1, 0)
        assert follow(connection, MINUTE) == (0, 0)
        settle(connection, series, "final", FIRST, 4)
        assert follow(connection, MINUTE + 1) == (0, 0)
        settle(connection, series, "empty", FIRST + 4 * MINUTE, 6)
        assert follow(connection, 2 * MINUTE) == (0, 1)
        assert episodes(connection) == [("filled", now(), now(2 * MINUTE))]
        (missing,) = connection.execute("select missing_since from hl.gap_episode").fetchone() or ()
    assert missing == to_datetime(FIRST + MINUTE + 10_000)


def test_a_gap_that_is_proven_empty_or_lost_is_said_to_be_so(database: Database) -> None:
    with database.connection() as connection:
        series = world(connection)
        tear(connection, series, FIRST, 2)
        tear(connection, series, FIRST + 5 * MINUTE, 2)
        assert follow(connection) == (2, 0)
        settle(connection, series, "empty", FIRST, 2)
        settle(connection, series, "lost", FIRST + 6 * MINUTE, 1)
        assert follow(connection, MINUTE) == (0, 1)
        settle(connection, series, "final", FIRST + 5 * MINUTE, 1)
        assert follow(connection, 2 * MINUTE) == (0, 1)
        assert [row[0] for row in episodes(connection)] == ["empty", "lost"]


def test_a_gap_that_grows_is_a_second_episode_of_the_new_slots_alone(database: Database) -> None:
    with database.connection() as connection:
        series = world(connection)
        tear(connection, series, FIRST, 2)
        follow(connection)
        tear(connection, series, FIRST + 2 * MINUTE, 3)
        assert follow(connection, MINUTE) == (1, 0)
        spans = connection.execute("select upper(slots) - lower(slots) from hl.gap_episode order by 1").fetchall()
    assert [span.total_seconds() for (span,) in spans] == [120, 180]


def test_history_and_slots_that_wait_for_their_turn_are_no_gaps_found(database: Database) -> None:
    with database.connection() as connection:
        series = world(connection)
        tear(connection, series, FIRST - 24 * 60 * MINUTE)
        connection.execute("update hl.gap set reason = 'provisional'")
        tear(connection, series, FIRST - 20 * 60 * MINUTE)
        assert follow(connection) == (0, 0)


def test_an_outage_is_found_though_the_ledger_does_not_speak_of_it(database: Database) -> None:
    with database.connection() as connection:
        world(connection)
        assert follow(connection, 10 * MINUTE) == (2, 0), "1m and 5m were not asked for since NOW_MS"
        connection.execute("update hl.market set tracked = false")
        assert follow(connection, 11 * MINUTE) == (0, 2)
        assert {row[0] for row in episodes(connection)} == {"dropped"}


def stats_of(connection: Connection) -> PipelineStats:
    return stats.pipeline_stats(connection)


def test_statistics_count_what_the_tables_hold_of_24_hours_and_no_more(database: Database) -> None:
    statement = """
        insert into hl.fetch (endpoint, request_type, asked_at, recorded_at, status, rows, weight, refused)
        select 'e', kind, %(now)s::timestamptz - age, clock_timestamp() - age, status, rows, 20, refused
        from (values
            ('candleSnapshot', interval '25 hours', 'landed', 500, 0),
            ('candleSnapshot', interval '23 hours', 'landed', 60, 2),
            ('candleSnapshot', interval '1 hour', 'failed', null, 1),
            ('candle stream', interval '1 second', 'landed', 7, 0)
        ) as f (kind, age, status, rows, refused)"""
    with database.connection() as connection:
        series = world(connection)
        connection.execute(statement, {"now": now()})
        connection.execute(
            "insert into hl.candle_revision select series_id, open_time, 1, %s::timestamptz - n * interval '20 hours',"
            " open, high, low, close, volume, trades, fetch_id, source, finality"
            " from hl.candle join hl.series using (series_id), generate_series(1, 2) as n"
            " where series_id = %s and open_time = %s + n * step",
            (now(), series, to_datetime(FIRST)),
        )
        found = stats_of(connection)
    assert (found.points, found.api_calls, found.errors, found.answers_429) == (67, 2, 1, 3)
    assert (found.weight, found.revisions) == (60, 1)
    assert abs(found.until_ms - NOW_MS) < 60_000, "market time, though the server's clock says otherwise"


def test_statistics_know_how_long_a_gap_was_missing_and_how_long_its_repair_took(database: Database) -> None:
    with database.connection() as connection:
        series = world(connection)
        fetched(connection)
        tear(connection, series)
        follow(connection)
        tear(connection, series, FIRST + 12 * MINUTE, 1)
        follow(connection, MINUTE)
        settle(connection, series, "final", FIRST, SLOTS)
        follow(connection, 2 * MINUTE)
        found = stats_of(connection)
    assert (found.gaps_found, found.gaps_healed, found.gaps_open, found.gaps_lost) == (2, 1, 1, 0)
    due_ms = [FIRST + MINUTE + 10_000, FIRST + 13 * MINUTE + 10_000]
    assert found.seconds_to_detect == (NOW_MS - due_ms[0] + NOW_MS + MINUTE - due_ms[1]) / 2000
    assert found.seconds_to_repair == 120


def test_uptime_is_the_share_of_minutes_whose_report_was_not_bad(database: Database) -> None:
    with database.connection() as connection:
        fetched(connection)
        assert (stats_of(connection).uptime_share, stats_of(connection).mean_score) == (None, None)
        for minutes, status, score in ((9, "healthy", 100), (8, "unhealthy", 20), (3, "degraded", 90)):
            health.log(connection, NOW_MS - minutes * MINUTE, status, score, {})
        found = stats_of(connection)
    assert (found.reports, found.mean_score) == (3, 70)
    assert found.watched_share is not None
    assert found.watched_share in {3 / 9, 3 / 10}
    assert found.uptime_share == found.watched_share * 2 / 3


def fetched(connection: Connection) -> None:
    """A request now, so that market time is known."""
    connection.execute("insert into hl.fetch (endpoint, request_type, asked_at) values ('e', 'meta', %s)", (now(),))
