"""What the REST client does once the process is to stop: it sends nothing more, waits for nothing, owes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hl_pipeline.model.budget import Reservation
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.endpoint import Breaker, FailureOf
from hl_pipeline.model.failure import BudgetExhausted
from hl_pipeline.model.halt import Halt, Halted
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.source.scripted import BudgetBook, ScriptedServer, answer, silence

TIME = answer(b'{"time": 1785067220000, "specialStatuses": null}')


class Told(BudgetBook):
    """Refuses everything, and tells when it was first asked."""

    def __init__(self) -> None:
        super().__init__(*[BudgetExhausted("no weight", retry_after=60.0)] * 100)
        self.asked = threading.Event()

    def reserve(self, weight: int, *, lane: str) -> Reservation:
        self.asked.set()
        return super().reserve(weight, lane=lane)


def halted(source: HyperliquidRest, halt: Halt, when: Callable[[], object]) -> None:
    """Ask in a thread, halt when the moment has come, and see that the asking ends so."""
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(source.exchange_time_ms)
        when()
        halt.request()
        assert isinstance(asking.exception(30), Halted)


def test_nothing_is_sent_once_it_is_to_stop() -> None:
    halt, budget = Halt(), BudgetBook()
    halt.request()
    with (
        ScriptedServer(TIME) as server,
        HyperliquidRest(server.url, budget=budget, halt=halt) as source,
        pytest.raises(Halted),
    ):
        source.exchange_time_ms()
    assert (server.requests, budget.reserved) == ([], [])


def test_waiting_for_weight_ends_and_the_place_in_the_queue_is_given_up() -> None:
    halt, budget = Halt(), Told()
    with ScriptedServer(TIME) as server, HyperliquidRest(server.url, budget=budget, halt=halt) as source:
        halted(source, halt, lambda: budget.asked.wait(30))
    assert (budget.withdrawn, budget.reserved, server.requests) == (1, [], [])


def test_the_pause_after_a_failure_ends_and_what_was_sent_is_paid() -> None:
    halt, budget = Halt(), BudgetBook()
    refusal = answer(b"slow down", "429 Too Many Requests", ("Retry-After: 60",))
    with ScriptedServer(refusal) as server, HyperliquidRest(server.url, budget=budget, halt=halt) as source:
        halted(source, halt, lambda: wait_for(lambda: budget.settled))
        assert source.stats.weight == budget.settled[0]
    assert (len(server.requests), len(budget.settled)) == (1, len(budget.reserved))


def test_a_request_that_hangs_is_given_up_within_seconds_and_paid_in_full_and_nobody_is_blamed(
    database: Database,
) -> None:
    halt, budget = Halt(), BudgetBook()
    with ScriptedServer(silence) as server:
        registry = PostgresEndpoints(database)
        registry.ensure([f"{server.url}/info"])
        with HyperliquidRest(server.url, budget=budget, registry=registry, halt=halt, deadline_s=600.0) as source:
            halted(source, halt, lambda: wait_for(lambda: server.requests))
        (state,) = registry.view().states
    assert [weight for weight, _ in budget.reserved] == budget.settled
    assert (state.breaker, state.errors, state.failure) == (Breaker.CLOSED, 0, None)


def test_weight_reserved_for_a_request_that_found_nobody_to_ask_is_given_back(database: Database) -> None:
    halt, budget, clock = Halt(), BudgetBook(), ManualClock(1_785_067_220_000)
    with ScriptedServer(TIME) as server:
        url = f"{server.url}/info"
        registry = PostgresEndpoints(database, clock=clock)
        registry.ensure([url])
        for _ in range(5):
            registry.failed(url, FailureOf.UNREACHABLE, "refused")
        clock.advance(120_000)
        assert registry.admit(url, last_resort=True), "somebody else has its one probe"
        with HyperliquidRest(server.url, budget=budget, registry=registry, halt=halt) as source:
            halted(source, halt, lambda: wait_for(lambda: budget.reserved))
    assert (budget.settled, server.requests) == ([0], [])


def test_a_place_in_the_queue_that_is_given_up_is_gone(database: Database) -> None:
    budget = PostgresBudget(database, "key", 100)
    budget.ensure()
    budget.reserve(90, lane="live")
    with pytest.raises(BudgetExhausted):
        budget.reserve(20, lane="live")
    assert claims(database) == 1
    budget.withdraw()
    assert claims(database) == 0
    budget.withdraw()


def test_the_patience_may_be_any(database: Database) -> None:
    """Ninety seconds of waiting for weight in Postgres end with the wish to stop, and leave no place behind."""
    halt = Halt()
    budget = PostgresBudget(database, "key", 100)
    budget.ensure()
    budget.reserve(100, lane="live")
    with (
        ScriptedServer(TIME) as server,
        HyperliquidRest(server.url, budget=budget, halt=halt, patience=Patience(total_s=90.0)) as source,
    ):
        halted(source, halt, lambda: wait_for(lambda: claims(database)))
    assert claims(database) == 0


def claims(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("select count(*) from hl.rate_limit_claim").fetchone()
    assert row is not None
    return int(row[0])


def wait_for(condition: Callable[[], object]) -> None:
    """Another thread's doing, which can only be looked for."""
    ends = threading.Event()
    for _ in range(1500):
        if condition():
            return
        ends.wait(0.02)
    raise AssertionError("it did not happen")
