from __future__ import annotations

from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.storage import coverage, overview, series
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline_tests.stored_world import NOW_MS as SHORTLY_AFTER_MS
from hl_pipeline_tests.stored_world import fill as fill_until
from hl_pipeline_tests.stored_world import series_id

#: A full hour, so that the first minute of the two days is whole.
NOW_MS = Interval.H1.floor(SHORTLY_AFTER_MS)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
REMOVE = b"delete from hl.candle where series_id = %s and open_time = %s"
GONE = "final in the ledger, but no final candle row"
FORGET = b"update hl.coverage set final = final - tstzmultirange(tstzrange(%s, %s)) where series_id = %s"


def fill(connection: Connection, coins: list[str]) -> None:
    fill_until(connection, coins, now_ms=NOW_MS)


def remove(connection: Connection, coin: str, interval: Interval, open_ms: int) -> int:
    """Take a candle away behind the ledger's back."""
    number = series_id(connection, coin, interval)
    assert connection.execute(REMOVE, (number, to_datetime(open_ms))).rowcount == 1
    return number


def test_a_sound_ledger_holds_wherever_the_judging_begins(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        for hours in (0, 1, 7, 13, 30, 200, 2000):
            assert series.violations(connection, NOW_MS - hours * HOUR_MS) == []
        assert series.violations(connection) == []


def test_what_was_removed_since_is_found_and_what_was_removed_before_is_left_to_the_whole_reading(
    database: Database,
) -> None:
    today = Interval.D1.floor(NOW_MS)
    with database.connection() as connection:
        fill(connection, ["BTC"])
        old = remove(connection, "BTC", Interval.H1, today - 20 * DAY_MS)
        young = remove(connection, "BTC", Interval.M5, today - DAY_MS)
        since = series.violations(connection, NOW_MS - 4 * DAY_MS)
        whole = series.violations(connection)
    assert [(number, rule) for number, rule, _ in since] == [(young, GONE)]
    assert [(number, rule) for number, rule, _ in whole] == sorted([(old, GONE), (young, GONE)])
    assert f"{to_datetime(today - DAY_MS):%Y-%m-%d %H:%M}" in since[0][2]


def test_a_candle_that_the_ledger_does_not_know_is_found_twice_over(database: Database) -> None:
    start = Interval.H1.floor(NOW_MS) - 5 * HOUR_MS
    with database.connection() as connection:
        fill(connection, ["BTC"])
        number = series_id(connection, "BTC", Interval.H1)
        connection.execute(FORGET, (to_datetime(start), to_datetime(start + HOUR_MS), number))
        found = series.violations(connection, NOW_MS - DAY_MS)
    assert [(one, rule) for one, rule, _ in found] == [
        (number, "a final candle row, but not final in the ledger"),
        (number, "expected, but neither settled nor a gap"),
    ]


def test_the_totals_are_those_of_the_rows(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC", "ETH"])
        row = connection.execute(
            b"select count(*), count(distinct series_id) from hl.candle where finality = 'f'"
        ).fetchone()
        assert row is not None
        totals = overview.stored_totals(connection)
    assert (totals.final, totals.series) == tuple(row)
    assert totals.candles >= totals.final > 0


def test_a_whole_month_counts_as_much_as_its_rows(database: Database) -> None:
    """The world begins in January and ends in March: February is counted as it was entered, the others taken apart."""
    with database.connection() as connection:
        fill(connection, ["BTC"])
        stored = dict(
            connection.execute(
                b"select interval, count(*) from hl.candles where finality = 'final' group by interval"
            ).fetchall()
        )
        found = coverage.by_interval(connection, NOW_MS + 10_000, 10_000)
    assert {row.interval: row.final for row in found} == stored
    assert all(row.gap == 0 for row in found)
