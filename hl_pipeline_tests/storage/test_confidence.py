from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl_pipeline.derived.confidence import score
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.trust import SeriesInputs
from hl_pipeline.storage import confidence
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.sql import query
from hl_pipeline_tests.stored_world import NOW_MS, fill, series_id

HOUR_MS = 3_600_000


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        yield connection


def of(connection: Connection, interval: Interval) -> SeriesInputs:
    return next(i for i in confidence.gather(connection, NOW_MS, 60.0) if i.key.interval is interval)


def spoil(connection: Connection, interval: Interval, at_ms: int) -> None:
    connection.execute(
        "update hl.candle set volume = volume + 1 where series_id = %s and open_time = %s",
        (series_id(connection, "BTC", interval), to_datetime(at_ms)),
    )


def accused(connection: Connection) -> dict[Interval, int]:
    """How many candles are held against each series that is accused at all."""
    found = confidence.gather(connection, NOW_MS, 60.0)
    both = {i.key.interval: max(i.parents_differing, i.above_differing) for i in found}
    return {interval: count for interval, count in both.items() if count}


def test_a_whole_history_scores_one_in_every_interval(connection: Connection) -> None:
    found = confidence.gather(connection, NOW_MS, 60.0)
    assert [str(i.key.interval) for i in found] == ["1m", "5m", "15m", "1h", "4h", "1d"]
    assert [i.expected for i in found] == [1440, 288, 96, 60, 60, 30]
    assert [i.parents_compared > 0 for i in found] == [False, True, True, True, True, True]
    assert [i.parents_differing for i in found] == [0] * 6
    assert [round(score(i).score, 6) for i in found] == [1.0] * 6


def test_a_mark_price_is_only_held_against_a_close_of_the_same_minutes(connection: Connection) -> None:
    assert of(connection, Interval.M1).mark_distance is not None
    assert of(connection, Interval.D1).mark_distance is None


def test_missing_slots_are_counted_with_their_longest_run(connection: Connection) -> None:
    connection.execute(
        "delete from hl.candle where series_id = %s and open_time >= %s and open_time < %s",
        (series_id(connection, "BTC", Interval.M1), to_datetime(NOW_MS - HOUR_MS), to_datetime(NOW_MS - HOUR_MS // 2)),
    )
    found = of(connection, Interval.M1)
    assert (found.missing, found.longest_missing) == (30, 30)
    assert score(found).weakest == "completeness"


def test_a_verified_empty_slot_is_not_missing(connection: Connection) -> None:
    which = series_id(connection, "BTC", Interval.M1)
    at = to_datetime(Interval.M1.floor(NOW_MS - HOUR_MS))
    connection.execute("delete from hl.candle where series_id = %s and open_time = %s", (which, at))
    statement = """
        update hl.coverage set final = final - slot, empty = slot
        from (select tstzmultirange(tstzrange(%(at)s, %(at)s + interval '1 minute')) as slot) as s
        where series_id = %(id)s and month = '2026-03-01'"""
    connection.execute(statement, {"at": at, "id": which})
    found = of(connection, Interval.M1)
    assert (found.missing, found.empty) == (0, 1)


def test_a_parent_that_is_not_its_childrens_aggregate_is_counted(connection: Connection) -> None:
    connection.execute(
        "update hl.candle set volume = volume + 1 where series_id = %s and open_time = %s",
        (series_id(connection, "BTC", Interval.M5), to_datetime(Interval.M5.floor(NOW_MS - HOUR_MS))),
    )
    assert of(connection, Interval.M5).parents_differing == 1


def test_two_intervals_that_agree_outvote_the_third(connection: Connection) -> None:
    spoil(connection, Interval.M5, Interval.M5.floor(NOW_MS - 2 * HOUR_MS))
    assert accused(connection) == {Interval.M5: 1}, "15m agrees with 1m"


@pytest.mark.parametrize("interval", [Interval.M1, Interval.M15, Interval.H1, Interval.D1])
def test_whichever_interval_lies_is_accused_alone(connection: Connection, interval: Interval) -> None:
    spoil(
        connection, interval, interval.floor(NOW_MS - 26 * HOUR_MS if interval is Interval.D1 else NOW_MS - 5 * HOUR_MS)
    )
    assert accused(connection) == {interval: 1}


def test_candles_derived_from_doubtful_minutes_are_doubtful_too(connection: Connection) -> None:
    for n in range(1, 15):
        spoil(connection, Interval.M1, Interval.M15.floor(NOW_MS - HOUR_MS * n))
    minutes = of(connection, Interval.M1)
    assert (minutes.above_differing, minutes.above_compared) == (14, 287)
    connection.execute(
        "update hl.candle set source = 'd' where series_id = %s and open_time >= %s",
        (series_id(connection, "BTC", Interval.M15), to_datetime(NOW_MS - 10 * HOUR_MS)),
    )
    suspect = of(connection, Interval.M15).derived_suspect
    assert suspect == pytest.approx(40 * (1 - (273 / 287) ** 3), rel=0.05)
    assert of(connection, Interval.H1).derived_suspect is None, "nothing of it is derived"


def test_without_a_third_interval_nobody_knows_who_lies(connection: Connection) -> None:
    for other in (Interval.M15, Interval.H1, Interval.H4, Interval.D1):
        connection.execute("delete from hl.candle where series_id = %s", (series_id(connection, "BTC", other),))
    spoil(connection, Interval.M5, Interval.M5.floor(NOW_MS - 2 * HOUR_MS))
    assert accused(connection) == {Interval.M1: 1, Interval.M5: 1}


def test_derived_children_are_compared_and_derived_parents_are_not(connection: Connection) -> None:
    connection.execute(
        "update hl.candle set source = 'd' where series_id = %s", (series_id(connection, "BTC", Interval.M15),)
    )
    assert of(connection, Interval.M15).parents_compared == 0
    assert of(connection, Interval.H1).parents_compared == 59


def test_a_slot_wrongly_proven_empty_is_held_against_its_series(connection: Connection) -> None:
    which, at = series_id(connection, "BTC", Interval.M1), to_datetime(Interval.M5.floor(NOW_MS - HOUR_MS))
    compared = of(connection, Interval.M5).parents_compared
    connection.execute("delete from hl.candle where series_id = %s and open_time = %s", (which, at))
    assert of(connection, Interval.M5).parents_compared == compared - 1
    connection.execute(
        "update hl.coverage set final = final - slot, empty = slot from (select"
        " tstzmultirange(tstzrange(%(at)s, %(at)s + interval '1 minute')) as slot) as s"
        " where series_id = %(id)s and month = '2026-03-01'",
        {"at": at, "id": which},
    )
    assert of(connection, Interval.M5).parents_compared == compared
    assert accused(connection) == {Interval.M1: 1}


@pytest.mark.parametrize(("asked", "volume", "differing"), [("15m", "1.5", 1), ("1m", "1.5", 0), ("15m", "1e-12", 0)])
def test_a_derived_candle_that_the_venue_contradicts_counts_as_a_sample(
    connection: Connection, asked: str, volume: str, differing: int
) -> None:
    which, at = series_id(connection, "BTC", Interval.M15), to_datetime(Interval.M15.floor(NOW_MS - HOUR_MS))
    connection.execute(
        "insert into hl.fetch (endpoint, request_type, coin, interval, asked_at)"
        " values ('e', 'candleSnapshot', 'BTC', %s, %s)",
        (asked, to_datetime(NOW_MS)),
    )
    connection.execute(
        "insert into hl.candle_revision (series_id, open_time, replaced_by, replaced_at, open, high, low, close,"
        " volume, trades, fetch_id, source, finality) select series_id, open_time,"
        " (select max(fetch_id) from hl.fetch), now(), open, high, low, close, volume + %s, trades, 0, 'd', 'f'"
        " from hl.candle"
        " where series_id = %s and open_time = %s",
        (volume, which, at),
    )
    found = of(connection, Interval.M15)
    assert (found.sampled, found.sampled_differing) == (95, differing)


def test_a_missing_head_and_refused_rows_are_told_from_other_missing_slots(connection: Connection) -> None:
    which = series_id(connection, "BTC", Interval.M1)
    end = Interval.M1.floor(NOW_MS - 10_000)
    for start, stop in ((end - 4 * 60_000, end), (end - 30 * 60_000, end - 20 * 60_000)):
        connection.execute(
            "delete from hl.candle where series_id = %s and open_time >= %s and open_time < %s",
            (which, to_datetime(start), to_datetime(stop)),
        )
    connection.execute(
        "insert into hl.gap (series_id, slots, reason, next_try, deadline)"
        " select %s, tstzrange(%s, %s), 'rejected', now(), now()",
        (which, to_datetime(end - 40 * 60_000), to_datetime(end - 23 * 60_000)),
    )
    found = of(connection, Interval.M1)
    assert (found.missing, found.longest_missing) == (14, 10)
    assert (found.missing_at_head, found.longest_missing_inside, found.missing_rejected) == (4, 10, 7)


def test_a_candle_last_read_while_it_was_open_does_not_stand_for_its_closed_slot(connection: Connection) -> None:
    which, newest = series_id(connection, "BTC", Interval.M5), Interval.M5.floor(NOW_MS) - 300_000
    connection.execute(
        "update hl.candle set finality = 'o' where series_id = %s and open_time = %s", (which, to_datetime(newest))
    )
    found = of(connection, Interval.M5)
    assert (found.present, found.missing_at_head, found.grades["open"]) == (287, 1, 1)
    assert found.newest_closed_age_s == pytest.approx((NOW_MS - newest) / 1000)


def test_only_a_candle_that_was_called_final_counts_as_revised(connection: Connection) -> None:
    which = series_id(connection, "BTC", Interval.M1)
    connection.execute(
        "insert into hl.fetch (endpoint, request_type, asked_at) values ('e', 'candleSnapshot', %s)",
        (to_datetime(NOW_MS),),
    )
    for minutes, finality in ((5, "f"), (6, "p"), (7, "o")):
        connection.execute(
            "insert into hl.candle_revision (series_id, open_time, replaced_by, replaced_at, open, high, low, close,"
            " volume, trades, fetch_id, source, finality) select series_id, open_time,"
            " (select max(fetch_id) from hl.fetch), now(), open, high, low, close, volume, trades, 0, 'r', %s"
            " from hl.candle where series_id = %s and open_time = %s",
            (finality, which, to_datetime(Interval.M1.floor(NOW_MS) - minutes * 60_000)),
        )
    assert of(connection, Interval.M1).revised == 1


def test_a_jump_that_reverts_at_once_is_odd(connection: Connection) -> None:
    connection.execute(
        "update hl.candle set close = 150, high = 150 where series_id = %s and open_time = %s",
        (series_id(connection, "BTC", Interval.M1), to_datetime(Interval.M1.floor(NOW_MS - HOUR_MS))),
    )
    assert of(connection, Interval.M1).oddities == 1


def test_rejected_rows_lower_validity(connection: Connection) -> None:
    connection.execute(
        "insert into hl.fetch (endpoint, request_type, coin, interval, asked_at, status, rows, rejected)"
        " values ('e', 'candleSnapshot', 'BTC', '1m', %s, 'landed', 60, 30)",
        (to_datetime(NOW_MS - 60_000),),
    )
    found = of(connection, Interval.M1)
    assert (found.received, found.bad) == (1530, 30)
    assert score(found).weakest == "validity"


def test_a_score_that_says_nothing_new_is_kept_once_an_hour(connection: Connection) -> None:
    scores = [score(i) for i in confidence.gather(connection, NOW_MS, 60.0)]
    written = [confidence.store(connection, NOW_MS + after, scores) for after in (0, 60_000, HOUR_MS)]
    assert written == [6, 0, 6]
    newest = confidence.latest(connection)
    assert {kept.scored_ms for kept in newest} == {NOW_MS + HOUR_MS}
    assert {kept.grade for kept in newest} == {"excellent"}


def test_the_history_of_a_series_says_when_its_score_moved(connection: Connection) -> None:
    key = SeriesKey("BTC", Interval.M1)
    confidence.store(connection, NOW_MS, [score(i) for i in confidence.gather(connection, NOW_MS, 60.0)])
    spoil(connection, Interval.M1, Interval.M1.floor(NOW_MS - HOUR_MS))
    confidence.store(connection, NOW_MS + 1, [score(i) for i in confidence.gather(connection, NOW_MS, 60.0)])
    kept = confidence.history(connection, key)
    assert [(one.scored_ms, one.weakest) for one in kept] == [(NOW_MS, "completeness"), (NOW_MS + 1, "agreement")]
    assert kept[0].score > kept[1].score
    assert confidence.history(connection, key, NOW_MS + 1) == kept[1:]
    assert confidence.history(connection, SeriesKey("ETH", Interval.M1)) == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interval=st.sampled_from(list(Interval)),
    taken=st.lists(st.integers(1, 60) | st.just(1) | st.integers(1, 1440), min_size=2, max_size=40, unique=True),
)
def test_taking_a_candle_out_of_a_sound_store_never_raises_any_score(
    connection: Connection, interval: Interval, taken: list[int]
) -> None:
    which, newest = series_id(connection, "BTC", interval), interval.floor(NOW_MS)
    with connection.transaction(force_rollback=True):
        scores = []
        for part in ([], taken[:1], taken[1:]):
            opens = [to_datetime(newest - n * interval.milliseconds) for n in part]
            connection.execute("delete from hl.candle where series_id = %s and open_time = any(%s)", (which, opens))
            scores.append([score(i).score for i in confidence.gather(connection, NOW_MS, 60.0)])
        for before, after in pairwise(scores):
            assert all(now <= was + 1e-9 for was, now in zip(before, after, strict=True))


def test_a_series_that_ended_long_ago_is_judged_at_its_end(connection: Connection) -> None:
    connection.execute("update hl.series set ended_at = known_until")
    later = NOW_MS + 60 * 24 * HOUR_MS
    found = confidence.gather(connection, later, 60.0)
    assert next((i.expected, i.missing, i.ended) for i in found) == (1440, 0, True)
    assert {score(i).grade for i in found} == {"excellent"}


def test_only_partitions_inside_the_window_are_read(connection: Connection) -> None:
    connection.execute("select hl.ensure_partitions('candle', '2020-01-01', '2020-03-01')")
    parameters = {"now": to_datetime(NOW_MS)}
    for name in ("confidence_oddities", "confidence_agreement"):
        plan = connection.execute("explain " + query(name), parameters).fetchall()
        assert "candle_2020_01" not in str(plan), name
    settled = {**parameters, "settle": timedelta(seconds=10)}
    plan = connection.execute("explain (analyze, costs off) " + query("confidence_slots"), settled).fetchall()
    reads = [line for (line,) in plan if "candle_2020_01" in line and "open_time >=" not in line]
    assert [line for line in reads if "never executed" not in line] == []
