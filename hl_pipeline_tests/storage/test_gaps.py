from __future__ import annotations

from hl_pipeline.health.report import report
from hl_pipeline.model.interval import WINDOW_SLOTS, Interval, to_datetime
from hl_pipeline.model.ledger import GapReason
from hl_pipeline.model.open_gap import OpenGap
from hl_pipeline.storage import health
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.gaps import endangered, open_gaps
from hl_pipeline_tests.stored_world import NOW_MS, fill, series_id

MINUTE, HOUR = 60_000, 3_600_000
EDGE = Interval.M1.floor(NOW_MS)

GAP = """
insert into hl.gap (series_id, slots, reason, attempts, next_try, deadline)
values (%s, tstzrange(%s, %s), %s, 1, %s, %s)
"""


def put_gap(
    connection: Connection,
    coin: str,
    interval: Interval,
    *,
    left_ms: int,
    slots: int = 10,
    reason: str = "absent",
    next_try_ms: int = NOW_MS + MINUTE,
) -> None:
    """A gap whose oldest slot is forgotten ``left_ms`` after the newest minute that closed."""
    start = interval.floor(EDGE + left_ms - WINDOW_SLOTS * interval.milliseconds)
    times = [to_datetime(at) for at in (start, start + slots * interval.milliseconds)]
    ends = [to_datetime(at) for at in (next_try_ms, interval.deadline(start))]
    connection.execute(GAP.encode(), (series_id(connection, coin, interval), *times, reason, *ends))


def listed(connection: Connection, now_ms: int = NOW_MS) -> list[OpenGap]:
    return open_gaps(connection, now_ms, settle_ms=10_000, period_ms=MINUTE)


def test_the_gap_that_is_lost_first_comes_first_whatever_its_series(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC", "ETH"])
        put_gap(connection, "BTC", Interval.M1, left_ms=50 * HOUR)
        put_gap(connection, "ETH", Interval.M5, left_ms=3 * HOUR, slots=3, reason="failed")
        put_gap(connection, "BTC", Interval.D1, left_ms=10_000 * HOUR, reason="unpublished")
        found = listed(connection)
        only = open_gaps(connection, NOW_MS, settle_ms=10_000, period_ms=MINUTE, coins=["BTC"], intervals=[Interval.M1])
    assert [(gap.key.coin, gap.key.interval, gap.slots, gap.why) for gap in found] == [
        ("ETH", "5m", 3, "failed"),
        ("BTC", "1m", 10, "absent once"),
        ("BTC", "1d", 10, "not published yet"),
    ]
    assert found[0].deadline_ms == found[0].key.interval.deadline(found[0].span.start_ms)
    assert [gap.key.coin for gap in only] == ["BTC"]


def test_a_provisional_slot_is_young_until_it_was_left_lying(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        put_gap(connection, "BTC", Interval.M1, left_ms=80 * HOUR, slots=1, reason="provisional")
        (waiting,) = listed(connection)
        (forgotten, *_) = listed(connection, NOW_MS + 4 * MINUTE)
    assert (waiting.is_young, waiting.why) == (True, "too young to be trusted")
    assert not forgotten.is_young


def test_what_came_due_since_the_last_answer_counts_though_the_ledger_does_not_speak_of_it(database: Database) -> None:
    later = NOW_MS + 6 * HOUR
    with database.connection() as connection:
        fill(connection, ["BTC"])
        assert listed(connection) == []
        (young,) = listed(connection, NOW_MS + MINUTE)
        found = {gap.key.interval: gap for gap in listed(connection, later)}
    assert (young.slots, young.is_young, young.reason) == (1, True, GapReason.UNASKED)
    assert {interval: gap.slots for interval, gap in found.items()} == {
        "1m": 360,
        "5m": 72,
        "15m": 24,
        "1h": 6,
        "4h": 1,
    }
    assert not any(gap.is_young for gap in found.values())
    assert found[Interval.M1].deadline_ms == EDGE + WINDOW_SLOTS * MINUTE


def test_a_series_that_has_ended_expects_nothing_more(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        connection.execute(b"update hl.series set ended_at = known_until")
        assert listed(connection, NOW_MS + 6 * HOUR) == []


def test_only_the_slots_that_are_soon_forgotten_are_endangered(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC", "ETH"])
        put_gap(connection, "BTC", Interval.M1, left_ms=12 * HOUR - 3 * MINUTE, slots=100)
        put_gap(connection, "ETH", Interval.M1, left_ms=13 * HOUR)
        at_edge = endangered(connection, EDGE, settle_ms=10_000, period_ms=MINUTE)
        before = endangered(connection, EDGE - 3 * MINUTE, settle_ms=10_000, period_ms=MINUTE)
    assert at_edge is not None
    assert (at_edge.slots, at_edge.coin, at_edge.interval) == (3, "BTC", Interval.M1)
    assert before is None, "at twelve hours exactly there is time enough"


def test_a_gap_near_its_deadline_warns_and_then_fails(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        put_gap(connection, "BTC", Interval.M5, left_ms=20 * HOUR, slots=4)
        told = {
            hours: next(
                verdict
                for verdict in report(health.gather(connection, NOW_MS + hours * HOUR, 60.0)).verdicts
                if verdict.name == "gaps_before_deadline"
            )
            for hours in (7, 9, 19)
        }
    assert {hours: str(verdict.status) for hours, verdict in told.items()} == {
        7: "healthy", 9: "degraded", 19: "unhealthy"
    }  # fmt: skip
    assert "4 slots" in told[9].sentence
    assert "Next: run `hl collect`" in told[9].sentence


def test_a_provisional_slot_and_a_series_never_answered_endanger_nothing(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        put_gap(connection, "BTC", Interval.M1, left_ms=HOUR, reason="provisional")
        connection.execute(b"update hl.series set tracked_from = known_until where interval = '4h'")
        assert endangered(connection, NOW_MS, settle_ms=10_000, period_ms=MINUTE) is None
        assert "4h" in {gap.key.interval for gap in listed(connection, NOW_MS + 300 * HOUR)}


def test_an_outage_near_its_end_is_told_though_nothing_was_entered(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
        late = endangered(connection, EDGE + (WINDOW_SLOTS - 60) * MINUTE, settle_ms=10_000, period_ms=MINUTE)
    assert late is not None
    assert (late.slots, late.coin, late.interval) == (720 - 60, "BTC", Interval.M1)
