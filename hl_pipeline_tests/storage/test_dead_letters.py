"""The trigger and the functions behind dead letters, by plain SQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.errors import RaiseException

from hl_pipeline.model.dead_letter import DeadLetterTally, FailureKind
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage import dead_letters
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline.storage.series import multirange
from hl_pipeline.storage.sql import query
from hl_pipeline_tests.stored_world import NOW_MS, fill, series_id

MINUTE, HOUR = 60_000, 3_600_000
EDGE = Interval.M1.floor(NOW_MS)
GAP = """
insert into hl.gap (series_id, slots, reason, attempts, next_try, deadline)
values (%(series)s, tstzrange(%(starts)s, %(ends)s), %(reason)s, 1, %(starts)s,
    %(starts)s::timestamptz + interval '5000 minutes')
"""
FETCH = "insert into hl.fetch (endpoint, request_type, asked_at, status) values ('', %s, %s, %s) returning fetch_id"
FAILURE = """
insert into hl.fetch_failure
    (series_id, slots, kind, attempts, first_failed_at, last_failed_at, error, request, fetch_id)
values (%(series)s, %(slots)s, %(kind)s, %(attempts)s, %(first)s, %(last)s, 'no', '{}', %(fetch)s)
"""


class Cellar:
    """Two series with gaps, and a way to fail."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        fill(connection, ["BTC", "ETH"])
        self.series = series_id(connection, "BTC", Interval.M1)
        self.other = series_id(connection, "ETH", Interval.M1)

    def gap(self, older: int, newer: int, *, series: int | None = None, reason: str = "failed") -> SpanSet:
        """A gap from ``older`` to ``newer`` minutes ago."""
        starts, ends = EDGE - older * MINUTE, EDGE - newer * MINUTE
        values = {"series": series or self.series, "reason": reason}
        self.connection.execute(GAP, {**values, "starts": to_datetime(starts), "ends": to_datetime(ends)})
        return SpanSet.single(starts, ends)

    def fetch(self, status: str = "failed", request_type: str = "candleSnapshot") -> int:
        row = self.connection.execute(FETCH, (request_type, to_datetime(NOW_MS), status)).fetchone()
        assert row is not None
        return int(row[0])

    def fail(
        self,
        slots: SpanSet,
        *,
        at_ms: int = NOW_MS,
        kind: FailureKind = FailureKind.BAD_ANSWER,
        answered: bool = True,
        series: int | None = None,
    ) -> int:
        """One failure, after others were ``answered``; how many letters died of it."""
        if answered:
            self.fetch("landed")
        died = dead_letters.record(
            self.connection, series or self.series, slots, kind, failed_ms=at_ms, error="no", request={},
            fetch_id=self.fetch(),
        )  # fmt: skip
        return len(died)

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        return self.connection.execute(statement.encode()).fetchall()


@pytest.fixture
def cellar(database: Database) -> Iterator[Cellar]:
    with database.connection() as connection:
        yield Cellar(connection)


@pytest.mark.parametrize(
    ("kind", "attempts", "minutes", "dies"),
    [
        ("refused", 2, 60, False),
        ("refused", 3, 0, True),
        ("bad_answer", 4, 60, False),
        ("bad_answer", 5, 9, False),
        ("bad_answer", 5, 10, True),
        ("unreachable", 19, 400, False),
        ("unreachable", 20, 359, False),
        ("unreachable", 20, 360, True),
        ("rate_limited", 20, 360, True),
        ("rejected", 5, 119, False),
        ("rejected", 5, 120, True),
    ],
)
def test_the_trigger_moves_a_failure_that_is_borne_no_longer(
    cellar: Cellar, kind: str, attempts: int, minutes: int, dies: bool
) -> None:
    slots = cellar.gap(20, 10)
    values = {"series": cellar.series, "kind": kind, "attempts": attempts, "fetch": cellar.fetch()}
    times = {"first": to_datetime(NOW_MS - minutes * MINUTE), "last": to_datetime(NOW_MS)}
    cellar.connection.execute(FAILURE, {**values, **times, "slots": multirange(slots)})
    found = dead_letters.letters(cellar.connection)
    assert [(letter.kind, letter.slots, letter.attempts) for letter in found] == [(kind, slots, attempts)] * dies
    assert cellar.rows("select count(*) from hl.fetch_failure") == [(0 if dies else 1,)]
    assert cellar.rows("select is_dead from hl.gap") == [(dies,)]
    assert dead_letters.violations(cellar.connection) == []


def test_a_kind_that_is_borne_longer_by_choice_dies_later(cellar: Cellar) -> None:
    cellar.connection.execute(b"update hl.failure_kind set max_attempts = 4 where kind = 'refused'")
    slots = cellar.gap(20, 10)
    assert [cellar.fail(slots, kind=FailureKind.REFUSED) for _ in range(4)] == [0, 0, 0, 1]


def test_a_failure_counts_only_when_somebody_was_answered_since_the_last(cellar: Cellar) -> None:
    slots = cellar.gap(20, 10)
    counted = []
    for answered in (True, False, False, True, False):
        cellar.fail(slots, answered=answered, at_ms=NOW_MS)
        counted += cellar.rows("select attempts from hl.fetch_failure")
    assert counted == [(1,), (1,), (1,), (2,), (2,)]
    cellar.fetch("landed", "metaAndAssetCtxs")
    cellar.fail(slots, answered=False)
    assert cellar.rows("select attempts from hl.fetch_failure") == [(2,)], "other questions say nothing about candles"


def test_failures_of_one_kind_that_overlap_are_one_and_other_kinds_count_apart(cellar: Cellar) -> None:
    slots = cellar.gap(30, 10)
    older, newer = slots - SpanSet.single(EDGE - 20 * MINUTE, EDGE), slots & SpanSet.single(EDGE - 25 * MINUTE, EDGE)
    cellar.fail(older, at_ms=NOW_MS)
    cellar.fail(newer, at_ms=NOW_MS + MINUTE)
    cellar.fail(slots, at_ms=NOW_MS + MINUTE, kind=FailureKind.REFUSED)
    assert cellar.rows("select kind, attempts, upper(slots) - lower(slots) from hl.fetch_failure order by 1") == [
        ("bad_answer", 2, to_datetime(20 * MINUTE) - to_datetime(0)),
        ("refused", 1, to_datetime(20 * MINUTE) - to_datetime(0)),
    ]
    assert cellar.fail(slots, series=cellar.other, at_ms=NOW_MS) == 0


def bury(cellar: Cellar, slots: SpanSet, *, series: int | None = None) -> int:
    """Let a window die of three refusals; the letter's number."""
    for _ in range(3):
        cellar.fail(slots, kind=FailureKind.REFUSED, series=series)
    return dead_letters.letters(cellar.connection, only_open=True)[0].number


def test_only_the_slots_that_died_are_laid_aside_and_a_gap_that_holds_more_is_cut(cellar: Cellar) -> None:
    cellar.gap(40, 10, reason="absent")
    bury(cellar, SpanSet.single(EDGE - 30 * MINUTE, EDGE - 20 * MINUTE))
    cut = (
        "select (hl.epoch_ms(lower(slots)) - {e}) / 60000, (hl.epoch_ms(upper(slots)) - {e}) / 60000, reason, is_dead,"
    )
    cut += " deadline - lower(slots) = interval '5000 minutes' from hl.gap order by slots"
    assert cellar.rows(cut.replace("{e}", str(EDGE))) == [
        (-40, -30, "absent", False, True),
        (-30, -20, "failed", True, True),
        (-20, -10, "absent", False, True),
    ]


def test_a_dead_gap_is_tried_again_an_hour_before_it_is_forgotten_or_never(cellar: Cellar) -> None:
    bury(cellar, cellar.gap(300, 290))
    bury(cellar, cellar.gap(4970, 4960))
    assert cellar.rows("select next_try - deadline from hl.gap order by slots") == [
        (to_datetime(10 * MINUTE) - to_datetime(0),),
        (to_datetime(0) - to_datetime(HOUR),),
    ]


def test_a_retry_makes_the_chosen_letters_due_and_counts_them(cellar: Cellar) -> None:
    refused = bury(cellar, cellar.gap(300, 290))
    unreadable = cellar.gap(200, 190)
    for hours in range(5):
        cellar.fail(unreadable, at_ms=NOW_MS + hours * HOUR)
    later = NOW_MS + 9 * HOUR
    due = f"select count(*) from hl.gap where next_try = '{to_datetime(later)}'"
    assert len(dead_letters.letters(cellar.connection, only_open=True)) == 2
    assert dead_letters.retry(cellar.connection, later, kind=FailureKind.UNREACHABLE) == 0
    assert dead_letters.retry(cellar.connection, later, kind=FailureKind.REFUSED) == 1
    assert cellar.rows(due) == [(1,)]
    assert dead_letters.retry(cellar.connection, later, number=refused) == 1
    assert dead_letters.retry(cellar.connection, later) == 2
    assert cellar.rows(due) == [(2,)]
    assert cellar.rows("select hl.retry_dead_letters('bad_answer')") == [(1,)]


def test_a_kind_that_does_not_exist_is_refused(cellar: Cellar) -> None:
    with pytest.raises(RaiseException, match="no kind of failure nonsense"):
        cellar.rows("select hl.retry_dead_letters('nonsense')")


def test_a_letter_is_resolved_with_its_last_slot_and_not_before(cellar: Cellar) -> None:
    slots = cellar.gap(300, 290)
    bury(cellar, slots)
    half = SpanSet.of([Span(slots.spans[0].start_ms, slots.spans[0].start_ms + 5 * MINUTE)])
    none = SpanSet()
    assert dead_letters.settle(cellar.connection, cellar.series, half, none, NOW_MS + 1) == 0
    assert dead_letters.settle(cellar.connection, cellar.other, slots, none, NOW_MS + 2) == 0
    assert dead_letters.settle(cellar.connection, cellar.series, slots - half, slots - half, NOW_MS + 3) == 1
    (letter,) = dead_letters.letters(cellar.connection)
    assert (letter.resolved_ms, letter.lost, str(letter.outcome)) == (NOW_MS + 3, slots - half, "partly lost")


def test_an_answer_ends_failures_but_not_those_of_rows_it_refused_again(cellar: Cellar) -> None:
    slots = cellar.gap(30, 10)
    half = SpanSet.single(EDGE - 30 * MINUTE, EDGE - 20 * MINUTE)
    cellar.fail(slots)
    cellar.fail(slots, kind=FailureKind.REJECTED)
    dead_letters.forget_failures(cellar.connection, cellar.series, slots, half)
    assert cellar.rows("select kind, slots from hl.fetch_failure") == [("rejected", multirange(half))]


def test_the_tally_counts_what_is_open_and_names_the_first_that_died(cellar: Cellar) -> None:
    assert dead_letters.tally(cellar.connection) == DeadLetterTally()
    bury(cellar, cellar.gap(300, 290))
    bury(cellar, cellar.gap(300, 280, series=cellar.other), series=cellar.other)
    found = dead_letters.tally(cellar.connection)
    assert (found.letters, found.slots, found.by_kind) == (2, 30, {"refused": 2})
    assert (found.coin, found.interval, found.died_ms) == ("BTC", Interval.M1, NOW_MS)
    cellar.connection.execute(b"update hl.market set tracked = false where coin = 'BTC'")
    assert dead_letters.tally(cellar.connection).letters == 1


def test_what_a_market_left_alone_lost_resolves_its_letters(cellar: Cellar) -> None:
    bury(cellar, cellar.gap(300, 290))
    bury(cellar, cellar.gap(200, 190))
    beyond = to_datetime(EDGE - 250 * MINUTE)
    cellar.connection.execute("delete from hl.gap where upper(slots) <= %s", (beyond,))
    statement = query("dead_letters_out_of_reach")
    cellar.connection.execute(statement, {"coins": ["BTC"], "now": to_datetime(NOW_MS + HOUR)})
    outcomes = [str(letter.outcome) for letter in dead_letters.letters(cellar.connection)]
    assert sorted(outcomes) == ["lost", "open"]
    assert dead_letters.violations(cellar.connection) == []
