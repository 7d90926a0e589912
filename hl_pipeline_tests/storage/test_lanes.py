from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hl_pipeline.model.budget import Lane
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted, InvalidSetting
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Connection, Database
from hl_pipeline_tests.storage.traffic import Spend, Spender, Street, least_in_any_window, most_in_any_window

START_MS = 1_785_000_000_000
LIMIT = 1164
WINDOW_MS = 60_000
MINUTE = 60_000


def spenders(count: int, lane: str, weight: int, **habits: Any) -> list[Spender]:
    return [Spender(lane, weight, **habits) for _ in range(count)]


def share(spends: list[Spend], lane: str, from_minute: int, until_minute: int) -> float:
    """The part of the limit that the lane had in those minutes."""
    span = range(from_minute * MINUTE, until_minute * MINUTE)
    return sum(s.weight for s in spends if s.lane == lane and s.at_ms in span) / LIMIT / (until_minute - from_minute)


def waits(spends: list[Spend], lane: str, from_minute: int = 0, weight: int | None = None) -> list[int]:
    return [
        s.waited_ms for s in spends if s.lane == lane and s.at_ms >= from_minute * MINUTE and weight in (None, s.weight)
    ]


def refused(budget: PostgresBudget, weight: int, lane: str) -> bool:
    try:
        budget.reserve(weight, lane=lane)
    except BudgetExhausted:
        return True
    return False


def waiters(database: Database, clock: ManualClock, count: int, limit: int = 100) -> list[PostgresBudget]:
    """One budget, as seen by so many threads."""
    made = [PostgresBudget(database, "k", limit, clock=clock) for _ in range(count)]
    made[0].ensure()
    return made


def test_the_lanes_of_the_code_are_those_of_the_database_in_their_order(database: Database) -> None:
    with database.connection() as connection:
        rows = connection.execute("select lane, floor_percent from hl.rate_limit_lane order by rank").fetchall()
    assert [lane for lane, _ in rows] == list(Lane)
    assert dict(rows) == FLOORS


def test_a_lane_nobody_knows_is_refused_for_good(database: Database) -> None:
    (budget,) = waiters(database, ManualClock(START_MS), 1)
    with pytest.raises(InvalidSetting, match="no lane express"):
        budget.reserve(1, lane="express")


def test_the_state_tells_who_spent_what(database: Database) -> None:
    (budget,) = waiters(database, ManualClock(START_MS), 1)
    with database.connection() as connection:
        assert budget.state(connection).spent_by_lane == {}
    budget.reserve(5, lane=Lane.LIVE)
    budget.settle(budget.reserve(4, lane=Lane.GAP), 3)
    with database.connection() as connection:
        state = budget.state(connection)
    assert state.spent_by_lane == {"live": 5, "gap": 3}
    assert (state.spent, state.in_flight) == (8, 5)


def test_whoever_waited_first_goes_first_though_a_smaller_one_would_fit(database: Database) -> None:
    clock = ManualClock(START_MS)
    large, small = waiters(database, clock, 2)
    small.reserve(60, lane="live")
    clock.advance(WINDOW_MS - 2_000)
    assert refused(large, 91, "live")
    clock.advance(1_000)
    assert refused(small, 10, "live")
    clock.advance(1_000)
    assert refused(small, 10, "live")
    assert not refused(large, 91, "live")


def test_the_claim_of_a_dead_process_is_forgotten(database: Database) -> None:
    clock = ManualClock(START_MS)
    dead, alive = waiters(database, clock, 2)
    alive.reserve(60, lane="live")
    assert refused(dead, 50, "live")
    clock.advance(5_999)
    assert refused(alive, 10, "live")
    clock.advance(1)
    assert not refused(alive, 10, "live")


def test_a_thread_that_asks_for_something_else_gives_up_its_place(database: Database) -> None:
    clock = ManualClock(START_MS)
    one, two = waiters(database, clock, 2)
    one.reserve(60, lane="live")
    clock.advance(WINDOW_MS - 4_000)
    assert refused(one, 50, "live")
    clock.advance(1_000)
    assert refused(two, 45, "live")
    clock.advance(1_000)
    assert refused(one, 56, "live")
    clock.advance(2_000)
    assert refused(one, 56, "live")
    assert not refused(two, 45, "live")


def test_a_higher_lane_that_waits_holds_the_lower_ones_back(database: Database) -> None:
    clock = ManualClock(START_MS)
    live, gap, urgent = waiters(database, clock, 3)
    live.reserve(66, lane="live")
    gap.reserve(10, lane="gap")
    clock.advance(44_000)  # the floors are used up, the pace is kept
    assert refused(live, 25, "live")
    assert refused(gap, 20, "gap")
    assert not refused(urgent, 24, "urgent_gap")


def test_within_its_floor_a_lane_goes_before_all_others(database: Database) -> None:
    clock = ManualClock(START_MS)
    live, backfill = waiters(database, clock, 2)
    live.reserve(95, lane="live")
    clock.advance(1_000)
    assert refused(live, 10, "live")
    assert not refused(backfill, 5, "backfill")
    assert refused(backfill, 1, "backfill")


def test_while_lanes_meet_none_fills_the_window_at_one_blow(database: Database) -> None:
    clock = ManualClock(START_MS)
    live, backfill = waiters(database, clock, 2)
    live.reserve(2, lane="live")
    backfill.reserve(40, lane="backfill")  # its floor is passed by one request
    with pytest.raises(BudgetExhausted) as refusal:
        backfill.reserve(40, lane="backfill")
    assert refusal.value.retry_after == pytest.approx(0.6 * (42 - 100 // 24))
    clock.advance(22_799)
    assert refused(backfill, 40, "backfill")
    clock.advance(1)
    assert not refused(backfill, 40, "backfill")


def test_a_lane_alone_may_spend_the_whole_window_at_once(database: Database) -> None:
    clock = ManualClock(START_MS)
    for lane in Lane:
        budget = PostgresBudget(database, lane, LIMIT, clock=clock)
        budget.ensure()
        assert budget.reserve(LIMIT, lane=lane).remaining == 0


def test_saturated_lanes_share_by_floor_and_rank(database: Database) -> None:
    spends = Street(database, LIMIT, START_MS).run(
        10, *spenders(4, "live", 21), *spenders(2, "gap", 21), *spenders(2, "backfill", 21)
    )
    assert most_in_any_window(spends) <= LIMIT
    assert least_in_any_window(spends, "gap", MINUTE, 10 * MINUTE) >= LIMIT * 0.10
    assert least_in_any_window(spends, "backfill", MINUTE, 10 * MINUTE) >= LIMIT * 0.05
    assert share(spends, "live", 1, 10) > 0.75
    assert sum(share(spends, lane, 1, 10) for lane in Lane) > 0.97
    assert max(waits(spends, "live", from_minute=1)) < 15_000


def test_floors_hold_for_requests_heavier_than_they_are(database: Database) -> None:
    spends = Street(database, LIMIT, START_MS).run(
        10, *spenders(1, "live", 104), *spenders(4, "gap", 21), *spenders(8, "backfill", 104)
    )
    assert most_in_any_window(spends) <= LIMIT
    assert least_in_any_window(spends, "gap", 2 * MINUTE, 10 * MINUTE) >= LIMIT * 0.10
    assert least_in_any_window(spends, "backfill", 2 * MINUTE, 10 * MINUTE) >= 104
    assert share(spends, "live", 1, 10) > 0.65


def test_urgent_gaps_come_first_and_nobody_starves(database: Database) -> None:
    spends = Street(database, LIMIT, START_MS).run(
        8,
        *spenders(4, "urgent_gap", 104),
        *spenders(4, "live", 21),
        *spenders(2, "gap", 21),
        *spenders(2, "backfill", 104),
    )
    assert most_in_any_window(spends) <= LIMIT
    for lane, floor in (("live", 0.15), ("gap", 0.10), ("backfill", 0.05)):
        assert least_in_any_window(spends, lane, 2 * MINUTE, 8 * MINUTE) >= LIMIT * floor
    assert share(spends, "urgent_gap", 2, 8) > 0.45
    assert share(spends, "urgent_gap", 2, 8) > 2 * share(spends, "live", 2, 8)


def test_what_an_idle_lane_leaves_is_lent_and_comes_back(database: Database) -> None:
    spends = Street(database, LIMIT, START_MS).run(
        10,
        *spenders(4, "backfill", 104),
        *spenders(4, "live", 21, from_ms=3 * MINUTE, until_ms=6 * MINUTE),
    )
    assert share(spends, "backfill", 0, 3) > 0.9
    assert max(waits(spends, "live")) <= WINDOW_MS
    assert share(spends, "live", 4, 6) > 0.7
    assert 0.05 <= share(spends, "backfill", 4, 6) < 0.25
    assert share(spends, "backfill", 7, 10) > 0.9


def test_a_live_tick_does_not_wait_long_for_two_saturated_backfills(database: Database) -> None:
    tick = spenders(6, "live", 21, pause_ms=MINUTE)
    two_backfills = spenders(8, "backfill", 104)
    spends = Street(database, LIMIT, START_MS).run(10, *tick, *two_backfills)
    assert most_in_any_window(spends) <= LIMIT
    assert max(waits(spends, "live", from_minute=2)) < 15_000
    assert share(spends, "backfill", 1, 10) > 0.8


@pytest.mark.parametrize("lane", ["live", "gap"])
def test_a_large_request_does_not_starve_behind_small_ones(database: Database, lane: str) -> None:
    spends = Street(database, LIMIT, START_MS).run(
        6, *spenders(8, lane, 21), *spenders(2, "backfill", 21), Spender(lane, 104)
    )
    large = waits(spends, lane, weight=104)
    assert len(large) >= 12
    assert max(large) <= WINDOW_MS


def test_weight_a_dead_process_claimed_is_used_by_the_others(database: Database) -> None:
    alive = spenders(2, "backfill", 21)
    doomed = spenders(20, "live", 104, until_ms=2 * MINUTE)
    spends = Street(database, LIMIT, START_MS).run(6, *alive, *doomed)
    assert share(spends, "live", 3, 6) == 0
    assert share(spends, "backfill", 4, 6) > 0.9


FLOORS = {"urgent_gap": 0, "live": 15, "gap": 10, "backfill": 5}


@dataclass
class Rule:
    """The rule of ``hl.check_rate_limit``, as arithmetic over lists, for a limit of 100."""

    limit: int = 100
    spends: list[tuple[int, int, str]] = field(default_factory=list)
    claims: dict[str, tuple[str, int, float, int]] = field(default_factory=dict)

    def ask(self, now: int, waiter: str, lane: str, cost: int) -> bool:
        """Lane, weight, waiting since and asked at make a claim."""
        self.claims = {w: c for w, c in self.claims.items() if c[3] > now - WINDOW_MS // 10}
        mine = self.claims.get(waiter)
        since = mine[2] if mine and mine[:2] == (lane, cost) and mine[2] <= now else now
        others = {w: c for w, c in self.claims.items() if w != waiter}
        queue = {**others, waiter: (lane, cost, since, now)}
        places = {w: self._place(now, w, queue) for w in queue}
        ahead = sum(c[1] for w, c in others.items() if places[w] < places[waiter])
        meet = any(c[0] != lane for c in others.values()) or any(
            at > now - 2 * WINDOW_MS and other != lane for at, _, other in self.spends
        )
        fits = self._spent(now, WINDOW_MS) + ahead + cost <= self.limit
        if meet and places[waiter][0]:
            fits = fits and self._beyond_pace(now) + ahead <= self.limit // 24
        if not fits:
            self.claims[waiter] = queue[waiter]
        elif mine:
            self.claims[waiter] = (lane, cost, float("inf"), now)
        return fits

    def _place(self, now: int, waiter: str, queue: dict[str, Any]) -> tuple[bool, int, float, str]:
        lane, _, since, _ = queue[waiter]
        before = sum(c[1] for w, c in queue.items() if c[0] == lane and (c[2], w) < (since, waiter))
        floor = self.limit * FLOORS[lane]
        beyond = self._spent(now, WINDOW_MS * 3 // 4, lane) + before >= floor // 100
        beyond = beyond or self._spent(now, WINDOW_MS // 6, lane) + before >= floor // 400
        return beyond, list(FLOORS).index(lane), since, waiter

    def _spent(self, now: int, span: int, lane: str | None = None) -> int:
        return sum(weight for at, weight, whose in self.spends if at > now - span and lane in (None, whose))

    def _beyond_pace(self, now: int) -> int:
        within = [(at, weight) for at, weight, _ in self.spends if at > now - WINDOW_MS]
        spans = (
            sum(weight for later, weight in within if later >= at) - self.limit * (now - at) // WINDOW_MS
            for at, _ in within
        )
        return max([0, *spans])


CHECK = "select allowed, spend_id, retry_after from hl.check_rate_limit('k', %s, %s, %s, %s)"
ASKED = st.tuples(
    st.sampled_from("abcde"),
    st.sampled_from(list(Lane)),
    st.sampled_from([0, 2, 5, 21, 40, 100]),
    st.sampled_from([0, 1, 700, 2_000, 5_999, 6_000, 11_000, 44_000, 61_000]),
)


def ask(connection: Connection, now_ms: int, waiter: str, lane: str, cost: int) -> bool:
    row = connection.execute(CHECK, (cost, str(lane), waiter, to_datetime(now_ms))).fetchone()
    assert row is not None
    allowed, spend_id, retry_after = row
    assert (spend_id is not None, retry_after == 0) == (allowed, allowed)
    assert 0 <= retry_after <= 60 * 60
    return bool(allowed)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ASKED, min_size=1, max_size=40))
@example([("a", Lane.LIVE, 100, 0), ("b", Lane.BACKFILL, 5, 0), ("c", Lane.GAP, 21, 2_000), ("b", Lane.BACKFILL, 5, 0)])
def test_the_database_rules_as_the_model_does(database: Database, steps: list[tuple[str, Lane, int, int]]) -> None:
    with database.autocommit() as connection:
        connection.execute("truncate hl.rate_limit cascade")
        connection.execute("insert into hl.rate_limit (key, max_weight) values ('k', 100)")
        rule, now = Rule(), START_MS
        for waiter, lane, cost, pause in steps:
            now += pause
            expected = rule.ask(now, waiter, lane, cost)
            assert ask(connection, now, waiter, lane, cost) == expected
            if expected:
                rule.spends.append((now, cost, lane))
            assert rule._spent(now, WINDOW_MS) <= rule.limit


def hammer(url: str, lane: str, weight: int, seconds: float, gate: Any, granted: Any) -> None:
    """One process that spends as fast as its lane may, by the server's clock."""
    with Database(url, max_connections=1) as database:
        budget = PostgresBudget(database, "short", 200)
        weights = 0
        gate.wait(60)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                reservation = budget.reserve(weight, lane=lane)
                weights += weight
                if reservation.spend_id % 3:
                    budget.settle(reservation, weight - reservation.spend_id % 3)
            except BudgetExhausted:
                continue
        granted.put((lane, weights))


AUDIT = """
create table public.spent (spend_id bigint primary key, at timestamptz not null, weight integer not null);
create function public.audit() returns trigger language plpgsql as $$
begin
    insert into public.spent values (new.spend_id, new.at, new.weight)
    on conflict (spend_id) do update set at = excluded.at, weight = excluded.weight;
    return new;
end $$;
create trigger audit after insert or update on hl.rate_limit_spend for each row execute function public.audit();
"""

HEAVIEST = """
select max(total) from (
    select sum(weight) over (order by at range between %s preceding and current row) as total from public.spent
) as windows
"""


def test_eight_processes_in_four_lanes_never_overfill_any_window(database: Database) -> None:
    window = timedelta(milliseconds=500)
    with database.connection() as connection:
        connection.execute(AUDIT)
        connection.execute(
            "insert into hl.rate_limit (key, max_weight, window_length) values ('short', 200, %s)", (window,)
        )
    spawn = multiprocessing.get_context("spawn")
    gate, granted = spawn.Barrier(8), spawn.Queue()
    workers = [
        spawn.Process(target=hammer, args=(database.libpq_url, lane, weight, 1.5, gate, granted))
        for lane in map(str, Lane)
        for weight in (7, 17)
    ]
    for worker in workers:
        worker.start()
    results = [granted.get(timeout=90) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 8
    with database.connection() as connection:
        (heaviest,) = connection.execute(HEAVIEST, (window - timedelta(microseconds=1),)).fetchone() or (None,)
    assert 0 < heaviest <= 200
    assert all(sum(weight for other, weight in results if other == lane) > 0 for lane in map(str, Lane))
