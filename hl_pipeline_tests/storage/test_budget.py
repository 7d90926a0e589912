from __future__ import annotations

import json
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl_pipeline.model.budget import Reservation
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import BudgetExhausted, DatabaseUnavailable, InvalidSetting
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database

START_MS = 1_785_000_000_000
MAX_WEIGHT = 100
WINDOW_MS = 60_000


def make(database: Database, key: str = "k", max_weight: int = MAX_WEIGHT) -> tuple[PostgresBudget, ManualClock]:
    clock = ManualClock(START_MS)
    budget = PostgresBudget(database, key, max_weight, clock=clock)
    budget.ensure()
    return budget, clock


def spends(database: Database) -> list[tuple[Any, ...]]:
    with database.connection() as connection:
        return connection.execute("select weight, settled from hl.rate_limit_spend order by spend_id").fetchall()


def test_who_only_looks_does_not_resize_the_budget(database: Database) -> None:
    PostgresBudget(database, "k", 1164).ensure()
    onlooker = PostgresBudget(database, "k", 50)
    onlooker.ensure(resize=False)
    with database.connection() as connection:
        assert onlooker.state(connection).max_weight == 1164
    onlooker.ensure()
    with database.connection() as connection:
        assert onlooker.state(connection).max_weight == 50


def test_weight_is_granted_until_the_window_is_full(database: Database) -> None:
    budget, _ = make(database)
    assert budget.reserve(60, lane="live").remaining == 40
    assert budget.reserve(40, lane="live").remaining == 0
    with pytest.raises(BudgetExhausted) as refusal:
        budget.reserve(1, lane="live")
    assert refusal.value.retry_after == 60.0


def test_weight_comes_back_a_window_after_it_was_spent_and_not_before(database: Database) -> None:
    budget, clock = make(database)
    budget.reserve(MAX_WEIGHT, lane="live")
    clock.advance(WINDOW_MS - 1)
    with pytest.raises(BudgetExhausted) as refusal:
        budget.reserve(1, lane="live")
    assert refusal.value.retry_after == pytest.approx(0.001)
    clock.advance(1)
    assert budget.reserve(1, lane="live").remaining == 99


def test_settling_gives_back_what_the_answer_did_not_cost(database: Database) -> None:
    budget, _ = make(database)
    reservation = budget.reserve(100, lane="live")
    budget.settle(reservation, 21)
    assert budget.reserve(79, lane="gap").remaining == 0


def test_settled_weight_counts_from_the_arrival_of_the_answer(database: Database) -> None:
    budget, clock = make(database)
    reservation = budget.reserve(MAX_WEIGHT, lane="live")
    clock.advance(10_000)
    budget.settle(reservation, MAX_WEIGHT)
    clock.advance(WINDOW_MS - 1)
    with pytest.raises(BudgetExhausted):
        budget.reserve(1, lane="live")


def test_the_reservation_of_a_dead_process_counts_for_one_window(database: Database) -> None:
    budget, clock = make(database)
    budget.reserve(MAX_WEIGHT, lane="live")
    clock.advance(WINDOW_MS)
    assert budget.reserve(MAX_WEIGHT, lane="live").remaining == 0


def test_a_process_that_slept_over_its_window_still_settles_what_it_spent(database: Database) -> None:
    budget, clock = make(database)
    late = budget.reserve(30, lane="live")
    clock.advance(2 * WINDOW_MS)
    budget.reserve(20, lane="live")
    budget.settle(late, 25)
    with pytest.raises(BudgetExhausted):
        budget.reserve(60, lane="live")
    assert budget.reserve(55, lane="live").remaining == 0


def test_a_reservation_gone_for_ten_windows_cannot_be_settled_silently(database: Database) -> None:
    budget, clock = make(database)
    late = budget.reserve(30, lane="live")
    clock.advance(10 * WINDOW_MS)
    budget.reserve(20, lane="live")
    with pytest.raises(BudgetExhausted, match="gone"):
        budget.settle(late, 25)


def test_old_spends_are_swept(database: Database) -> None:
    budget, clock = make(database)
    for _ in range(20):
        budget.settle(budget.reserve(MAX_WEIGHT, lane="live"), 5)
        clock.advance(WINDOW_MS)
    assert len(spends(database)) <= 2


def test_the_state_tells_what_is_spent_in_flight_and_refused(database: Database) -> None:
    budget, clock = make(database)
    budget.settle(budget.reserve(50, lane="live"), 30)
    budget.reserve(20, lane="live")
    clock.advance(1_000)
    for _ in range(3):
        with pytest.raises(BudgetExhausted):
            budget.reserve(51, lane="live")
    with database.connection() as connection:
        state = budget.state(connection)
    assert (state.max_weight, state.spent, state.remaining, state.in_flight) == (100, 50, 50, 20)
    assert (state.refused, state.refused_since_ms) == (3, START_MS + 1_000)
    budget.reserve(50, lane="live")
    with database.connection() as connection:
        assert budget.state(connection).refused_since_ms is None


def test_a_key_nobody_set_up_says_so(database: Database) -> None:
    stranger = PostgresBudget(database, "nobody", 10)
    with pytest.raises(InvalidSetting, match="nobody"):
        stranger.reserve(1, lane="live")
    with database.connection() as connection, pytest.raises(InvalidSetting, match="nobody"):
        stranger.state(connection)


def test_a_request_no_window_can_hold_is_refused_for_good(database: Database) -> None:
    budget, _ = make(database)
    with pytest.raises(InvalidSetting, match="split"):
        budget.reserve(MAX_WEIGHT + 1, lane="live")
    with pytest.raises(InvalidSetting, match="above 0"):
        PostgresBudget(database, "k", 0)


def test_a_new_size_takes_effect(database: Database) -> None:
    budget, clock = make(database)
    budget.reserve(90, lane="live")
    smaller = PostgresBudget(database, "k", 50, clock=clock)
    smaller.ensure()
    with pytest.raises(BudgetExhausted):
        budget.reserve(10, lane="live")
    with database.connection() as connection:
        assert budget.state(connection).remaining == 0


def test_keys_do_not_share(database: Database) -> None:
    one, _ = make(database, "one")
    two, _ = make(database, "two")
    one.reserve(MAX_WEIGHT, lane="live")
    assert two.reserve(MAX_WEIGHT, lane="live").remaining == 0


def test_a_snapshot_from_before_the_lock_is_refused(database: Database) -> None:
    make(database)
    with database.autocommit() as connection:
        connection.execute("set default_transaction_isolation = 'repeatable read'")
        with pytest.raises(psycopg.errors.RaiseException, match="repeatable read"):
            connection.execute("select hl.check_rate_limit('k', 1)")
        connection.execute("reset default_transaction_isolation")


def test_nothing_is_granted_while_another_holds_the_count(database: Database) -> None:
    budget, _ = make(database)
    with database.connection() as holder:
        holder.execute("select 1 from hl.rate_limit where key = 'k' for update")
        with pytest.raises(BudgetExhausted, match="locked") as refusal:
            budget.reserve(1, lane="live")
    assert refusal.value.retry_after is not None
    assert spends(database) == []


def test_a_locked_reservation_stays_as_reserved(database: Database) -> None:
    budget, _ = make(database)
    reservation = budget.reserve(40, lane="live")
    with database.connection() as holder:
        holder.execute("select 1 from hl.rate_limit_spend for update")
        with pytest.raises(BudgetExhausted, match="stays as reserved"):
            budget.settle(reservation, 1)
    assert spends(database) == [(40, False)]


def test_without_a_database_nothing_is_granted() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", connect_timeout_seconds=1)
    with nowhere, pytest.raises(DatabaseUnavailable):
        PostgresBudget(nowhere, "k", 10).reserve(1, lane="live")


def test_a_cut_connection_leaves_the_reservation_standing(database: Database) -> None:
    budget, _ = make(database)
    reservation = budget.reserve(40, lane="live")
    with database.connection() as connection:
        mine = connection.info.backend_pid
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s",
            (mine,),
        )
    budget.settle(reservation, 21)
    assert spends(database) == [(21, True)]


@dataclass
class Model:
    """The budget as arithmetic: spends of the last window, by instant."""

    spends: dict[int, tuple[int, int]] = field(default_factory=dict)

    def fits(self, now_ms: int, weight: int) -> bool:
        return sum(w for at, w in self.spends.values() if at > now_ms - WINDOW_MS) + weight <= MAX_WEIGHT

    def retry_after_ms(self, now_ms: int, weight: int) -> int:
        instants = sorted(at + WINDOW_MS for at, _ in self.spends.values() if at > now_ms - WINDOW_MS)
        return next(at for at in instants if self.fits(at, weight)) - now_ms


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "settle"]), st.integers(0, 100), st.integers(0, 25_000)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_database_counts_as_the_model_does(database: Database, steps: list[tuple[str, int, int]]) -> None:
    with database.connection() as connection:
        connection.execute("truncate hl.rate_limit cascade")
    budget, clock = make(database)
    model, open_ones = Model(), list[Reservation]()
    for action, weight, pause_ms in steps:
        clock.advance(pause_ms)
        now = clock.now_ms()
        if action == "settle" and open_ones:
            reservation = open_ones.pop(weight % len(open_ones))
            cost = reservation.weight * (weight % 5) // 4
            at = model.spends[reservation.spend_id][0]
            if at > now - WINDOW_MS:
                budget.settle(reservation, cost)
                model.spends[reservation.spend_id] = (now, cost)
        elif action == "reserve" and model.fits(now, weight):
            reservation = budget.reserve(weight, lane="live")
            open_ones.append(reservation)
            model.spends[reservation.spend_id] = (now, weight)
        elif action == "reserve":
            with pytest.raises(BudgetExhausted) as refusal:
                budget.reserve(weight, lane="live")
            assert refusal.value.retry_after == pytest.approx(model.retry_after_ms(now, weight) / 1000, abs=1e-6)


def hammer(url: str, seconds: float, gate: Any, granted: Any) -> None:
    """One process that spends as fast as it may: first at one frozen instant, then by the server's clock."""
    with Database(url, max_connections=1) as database:
        frozen = PostgresBudget(database, "frozen", 1000, clock=ManualClock(START_MS))
        live = PostgresBudget(database, "short", 200)
        total, gone = 0, 0
        live.ensure()
        gate.wait(60)
        for _ in range(60):
            try:
                total += frozen.reserve(7, lane="live").weight
            except BudgetExhausted:
                gone += 1
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                reservation = live.reserve(17, lane="live")
                if reservation.spend_id % 3:
                    live.settle(reservation, reservation.spend_id % 18)
            except BudgetExhausted:
                gone += 1
        granted.put((total, gone))


AUDIT = """
create table public.spent (spend_id bigint primary key, at timestamptz not null, weight integer not null);
create function public.audit() returns trigger language plpgsql as $$
begin
    insert into public.spent values (new.spend_id, new.at, new.weight)
    on conflict (spend_id) do update set at = excluded.at, weight = excluded.weight;
    return new;
end $$;
create trigger audit after insert or update on hl.rate_limit_spend
for each row when (new.key = 'short') execute function public.audit();
insert into hl.rate_limit (key, max_weight) values ('frozen', 1000);
insert into hl.rate_limit (key, max_weight, window_length) values ('short', 200, '500 ms');
"""

HEAVIEST = """
select max(total) from (
    select sum(weight) over (order by at range between '499.999 ms' preceding and current row) as total
    from public.spent
) as windows
"""


def test_eight_processes_never_overfill_any_window(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(AUDIT)
    spawn = multiprocessing.get_context("spawn")
    gate, granted = spawn.Barrier(8), spawn.Queue()
    workers = [spawn.Process(target=hammer, args=(database.libpq_url, 1.2, gate, granted)) for _ in range(8)]
    for worker in workers:
        worker.start()
    results = [granted.get(timeout=90) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert sum(total for total, _ in results) == 1000 // 7 * 7
    with database.connection() as connection:
        (heaviest,) = connection.execute(HEAVIEST).fetchone() or (None,)
        (count,) = connection.execute("select count(*) from public.spent").fetchone() or (0,)
    assert 0 < heaviest <= 200, json.dumps({"heaviest": int(heaviest), "spends": count})
    assert count > 30


def test_threads_may_share_one_budget(database: Database) -> None:
    budget, _ = make(database, max_weight=50)
    refused: list[BudgetExhausted] = []

    def spend() -> None:
        for _ in range(10):
            try:
                budget.reserve(1, lane="live")
            except BudgetExhausted as refusal:
                refused.append(refusal)

    threads = [threading.Thread(target=spend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spends(database)) == 50
    assert len(refused) == 10
