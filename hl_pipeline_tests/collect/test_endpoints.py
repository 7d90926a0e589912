"""Two or three real exchanges of one truth, one clock for all: one is down, flaps, lags or lies, and nothing is wrong.

Waiting moves the clock, as do the ticks; the breakers keep the same clock, in a real Postgres.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from hl_pipeline.collect.fill import FillPolicy, FillReport, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.probe import ProbeReport, probe_endpoints
from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.endpoint import Breaker, EndpointState, why_unhealthy
from hl_pipeline.model.failure import ExchangeUnavailable, TryAgain
from hl_pipeline.model.interval import Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.alerts import open_alerts
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.series import violations
from hl_pipeline_tests.collect.test_drill import STORED, same

SECOND, MINUTE = 1000, 60_000
NOON = 1_785_067_200_000  # 2026-07-26T12:00:00Z
COINS = ("BTC", "ETH")
#: Of candles, when only clocks are to be probed.
NEVER = 10**12
DOWN = Fault(FaultKind.BAD_GATEWAY)


class Ways:
    """A collector with several ways to one exchange."""

    def __init__(
        self,
        database: Database,
        clock: ManualClock,
        sandboxes: list[RunningSandbox],
        dead: int = 0,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.database, self.clock, self.sandboxes = database, clock, sandboxes
        bases = [*(f"http://127.0.0.1:{port}" for port in range(1, dead + 1)), *(one.url for one in sandboxes)]
        self.budget = PostgresBudget(database, key="ways", max_weight=1_000_000)
        self.budget.ensure()
        self.endpoints = PostgresEndpoints(database, clock=clock)
        self.source = HyperliquidRest(
            bases,
            budget=self.budget,
            registry=self.endpoints,
            sleep=self.sleep,
            monotonic=monotonic or (lambda: clock.now_ms() / 1000),
        )
        self.endpoints.ensure(self.source.endpoints)

    def sleep(self, seconds: float) -> None:
        self.clock.advance(int(seconds * 1000) + 1)

    def know_markets(self) -> None:
        refresh_markets(self.source, self.database, self.clock, coins=COINS, intervals=[Interval.M1])

    def collect(self) -> FillReport:
        # one thread: each waits on the same clock
        report = fill(self.source, self.database, self.clock, FillPolicy(concurrency=1))
        with self.database.connection() as connection:
            assert violations(connection) == []
        return report

    def probe(self, **often: int) -> ProbeReport:
        return probe_endpoints(self.source, self.database, self.clock, self.endpoints, **often)

    def states(self) -> list[EndpointState]:
        return list(self.endpoints.view().states)

    def why(self) -> list[str | None]:
        states = self.states()
        return [why_unhealthy(state, states) for state in states]

    def asked(self) -> list[int]:
        """How many requests each sandbox has seen."""
        return [len(sandbox.log.entries()) for sandbox in self.sandboxes]

    def rows(self, question: str) -> list[tuple[object, ...]]:
        with self.database.connection() as connection:
            return connection.execute(question.encode()).fetchall()

    def assert_true(self) -> int:
        """Every final candle is the exchange's truth, without a hole; how many there are."""
        count = 0
        for coin in COINS:
            with self.database.connection() as connection:
                rows = connection.execute(STORED.encode(), {"coin": coin, "interval": "1m"}).fetchall()
            stored = [Candle(*row) for row in rows]
            truth = self.sandboxes[0].truth.candles(coin, Interval.M1, stored[0].open_ms, stored[-1].open_ms + MINUTE)
            assert same(stored, truth), f"{coin} differs from the truth"
            count += len(stored)
        return count


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON + 20_000)


@pytest.fixture
def stage(database: Database, clock: ManualClock) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(database, clock, stack)


class Stage:
    """Makes ways; everything it started ends with the test."""

    def __init__(self, database: Database, clock: ManualClock, stack: ExitStack) -> None:
        self.database, self.clock, self.stack = database, clock, stack

    def sandbox(self, *faults: Fault, seed: int = 7) -> RunningSandbox:
        world = World(seed, clock=self.clock, history_days=1)
        running = RunningSandbox(
            world, limiter=LimiterMode.OFF, manners=Manners(QuietMode.DENSE), faults=FaultPlan(seed, faults)
        )
        return self.stack.enter_context(running)

    def ways(self, *sandboxes: RunningSandbox, dead: int = 0, monotonic: Callable[[], float] | None = None) -> Ways:
        made = Ways(self.database, self.clock, list(sandboxes), dead, monotonic)
        self.stack.enter_context(made.source)
        return made


def test_a_fill_over_a_dead_primary_lands_everything_from_the_secondary(stage: Stage) -> None:
    ways = stage.ways(stage.sandbox(), dead=1)
    ways.know_markets()
    report = ways.collect()
    assert (report.failures, report.planned) == ([], report.landed)
    assert ways.assert_true() > 2 * 1440
    served = ways.rows("select distinct endpoint from hl.fetch where request_type = 'candleSnapshot'")
    assert served == [(ways.source.endpoints[1],)]
    for _ in range(5):
        stage.clock.advance(MINUTE)
        assert ways.collect().failures == []
    assert ways.states()[0].breaker is Breaker.OPEN
    assert ways.rows("select count(*) from hl.gap where reason <> 'provisional'") == [(0,)]


def test_when_all_are_down_nobody_is_hammered_and_what_was_missed_is_named_and_healed(stage: Stage) -> None:
    first, second = stage.sandbox(), stage.sandbox()
    ways = stage.ways(first, second)
    ways.know_markets()
    ways.collect()
    for sandbox in (first, second):
        sandbox.faults.add(DOWN)
        sandbox.log.clear()
    spent = ways.budget.state
    for _ in range(60):  # half an hour
        stage.clock.advance(30 * SECOND)
        ways.collect()
    assert ways.rows("select distinct reason from hl.gap where reason <> 'provisional'") == [("exchange_down",)]
    # five errors open each breaker; from then on each gets one request in half a minute
    assert all(asked <= 5 + 61 for asked in ways.asked())
    assert {state.breaker for state in ways.states()} == {Breaker.OPEN}
    with stage.database.connection() as connection:
        before = spent(connection).spent
        with pytest.raises(ExchangeUnavailable, match="nothing was sent") as refusal:
            ways.source.exchange_time_ms()
        assert spent(connection).spent == before
    assert 0 < (refusal.value.retry_after or 0) <= 30
    for sandbox in (first, second):
        sandbox.faults.clear()
    for _ in itertools.takewhile(lambda _: ways.rows("select 1 from hl.gap where reason = 'exchange_down'"), range(40)):
        stage.clock.advance(MINUTE)
        ways.collect()
    assert ways.rows("select count(*) from hl.gap where reason = 'exchange_down'") == [(0,)]
    stage.clock.advance(MINUTE)
    ways.collect()
    assert ways.rows("select count(*) from hl.gap where reason <> 'provisional'") == [(0,)]
    ways.assert_true()


def test_a_lone_exchange_that_is_down_rests_and_comes_back_within_half_a_minute(stage: Stage) -> None:
    sandbox = stage.sandbox()
    ways = stage.ways(sandbox)
    ways.know_markets()
    ways.collect()
    sandbox.faults.add(DOWN)
    stage.clock.advance(MINUTE)
    assert ways.collect().coins_failed == set(COINS)
    assert ways.states()[0].breaker is Breaker.OPEN
    sandbox.faults.clear()
    stage.clock.advance(31 * SECOND)
    asked = sandbox.log.entries()
    assert ways.probe().sighted == list(ways.source.endpoints)
    assert [entry.request for entry in sandbox.log.entries()[len(asked) :]] == ["exchangeStatus"] * 3
    assert ways.states()[0].breaker is Breaker.CLOSED


@pytest.mark.parametrize("every_s", [7, 45])
def test_a_flapping_primary_does_not_swing_the_load_and_costs_ever_less(stage: Stage, every_s: int) -> None:
    flapping, steady = stage.sandbox(), stage.sandbox()
    ways = stage.ways(flapping, steady)
    ways.know_markets()
    ways.collect()
    request = CandleRequest(SeriesKey("BTC", Interval.M1), NOON - 60 * MINUTE, NOON)
    turns: list[list[bool]] = []
    for half_hour in range(2):
        turns.append([])
        flapping.log.clear()
        for second in range(half_hour * 1800, (half_hour + 1) * 1800, 3):
            is_down = bool(second // every_s % 2)
            if is_down != bool(flapping.faults.in_force()):
                flapping.faults.add(DOWN) if is_down else flapping.faults.clear()
            before = steady.log.entries()
            assert ways.source.candles(request).candles, "somebody always serves"
            turns[-1].append(len(steady.log.entries()) > len(before))
            if second % 30 == 0:
                ways.probe(compare_every_ms=NEVER)
            stage.clock.advance(3 * SECOND)
    swings = [sum(one != next_ for one, next_ in itertools.pairwise(turn)) for turn in turns]
    assert swings[0] <= 12, "a few, until it is known for what it is"
    assert swings[1] <= 2
    failed = [entry for entry in flapping.log.entries() if entry.status != 200 and entry.request == "candleSnapshot"]
    assert len(failed) <= 5


def test_who_lags_takes_no_load_and_nothing_wrong_is_called_final(stage: Stage) -> None:
    primary, stale = stage.sandbox(), stage.sandbox(Fault(FaultKind.STALE, amount=90 * SECOND))
    ways = stage.ways(primary, stale)
    ways.know_markets()
    ways.probe()
    stale.log.clear()
    assert ways.why() == [None, "its head is 90 s behind the others'"]
    ways.collect()
    assert stale.log.entries() == []
    primary.faults.add(DOWN)
    for _ in range(10):
        stage.clock.advance(MINUTE)
        ways.probe(compare_every_ms=NEVER)
        ways.collect()
    assert {entry.request for entry in stale.log.entries()} == {"exchangeStatus"}, "a stale answer is worse than none"
    stale.faults.clear()
    stage.clock.advance(MINUTE)
    ways.probe(compare_every_ms=NEVER)
    assert ways.why()[1] is None
    for _ in range(12):
        stage.clock.advance(MINUTE)
        ways.collect()
    assert ways.rows("select distinct endpoint from hl.fetch where status = 'landed' order by 1") == [
        (url,) for url in sorted(ways.source.endpoints)
    ]
    assert ways.rows("select count(*) from hl.candle_revision") == [(0,)]
    ways.assert_true()


def test_candles_that_stand_still_behind_a_right_clock_are_found_by_comparing(stage: Stage) -> None:
    stuck = stage.sandbox(Fault(FaultKind.STALE, request="candleSnapshot", amount=4 * MINUTE))
    ways = stage.ways(stage.sandbox(), stuck)
    ways.know_markets()
    assert len(ways.probe().compared) == 2
    assert ways.why() == [None, "its newest candle is 120 s behind the others'"]
    assert ways.rows("select count(*) from hl.endpoint_disagreement") == [(0,)], "being late is no contradiction"


@pytest.mark.parametrize("kind", [FaultKind.SHIFTED, FaultKind.REVISED, FaultKind.FROZEN])
def test_two_that_disagree_are_recorded_told_of_once_and_the_primary_wins(stage: Stage, kind: FaultKind) -> None:
    frozen = (NOON - 60 * MINUTE,)
    lie = Fault(kind, coin="BTC", amount=30, opens_ms=frozen if kind is FaultKind.FROZEN else ())
    if kind is FaultKind.FROZEN:
        lie = Fault(kind, coin="BTC", opens_ms=tuple(NOON + n * MINUTE for n in range(-60, 60)))
    honest, liar = stage.sandbox(), stage.sandbox(lie)
    ways = stage.ways(honest, liar)
    ways.know_markets()
    first = ways.probe()
    other = ways.source.endpoints[1]
    assert first.differing == {other: 5}
    assert ways.why() == [None, "its candles differ from the primary's"]
    kept = ways.rows(
        "select primary_url, other_url, coin, interval, primary_candle = other_candle from hl.endpoint_disagreement"
    )
    assert kept == [(ways.source.endpoints[0], other, "BTC", "1m", False)] * 5
    stage.clock.advance(10 * MINUTE - SECOND)
    assert ways.probe().compared == [], "not before ten minutes are over"
    stage.clock.advance(SECOND)
    assert ways.probe().differing == {other: 5}
    with stage.database.connection() as connection:
        (alert,) = open_alerts(connection)
    assert (alert.rule, alert.times_seen) == ("endpoints_disagree", 2)
    assert other in alert.summary
    liar.log.clear()
    ways.collect()
    assert liar.log.entries() == [], "the primary wins"
    ways.assert_true()
    liar.faults.clear()
    stage.clock.advance(10 * MINUTE)
    assert ways.probe().differing == {}
    assert ways.why() == [None, None]
    with stage.database.connection() as connection:
        assert open_alerts(connection) == []


def test_of_three_each_is_held_against_the_primary(stage: Stage) -> None:
    honest, liar, late = stage.sandbox(), stage.sandbox(Fault(FaultKind.SHIFTED, amount=10)), stage.sandbox()
    ways = stage.ways(honest, liar, late)
    ways.know_markets()
    late.faults.add(DOWN)
    report = ways.probe()
    assert len(report.compared) == 3 or list(report.failed) == [ways.source.endpoints[2]]
    assert list(report.differing) == [ways.source.endpoints[1]]
    assert ways.states()[2].errors == 2, "one for the clock, one for the candles"


def test_the_load_goes_to_the_fastest_and_comes_back(stage: Stage) -> None:
    slow, quick = stage.sandbox(Fault(FaultKind.LATENCY, amount=300)), stage.sandbox()
    ways = stage.ways(slow, quick, monotonic=time.monotonic)
    ways.know_markets()
    for probes in (1, 12):
        for _ in range(probes):
            ways.probe(compare_every_ms=NEVER)
            stage.clock.advance(30 * SECOND)
        slow.log.clear()
        fresh = stage.ways(slow, quick, monotonic=time.monotonic)
        assert fresh.collect().landed
        assert slow.log.entries() == []
        slow.faults.clear()
        quick.faults.add(Fault(FaultKind.LATENCY, amount=300))
        slow, quick = quick, slow
        ways.endpoints.ensure(ways.source.endpoints)
    ways.assert_true()


def test_probes_of_several_processes_cost_no_more_than_of_one_and_stand_in_the_budget(stage: Stage) -> None:
    first, second = stage.sandbox(), stage.sandbox()
    ways = stage.ways(first, second)
    ways.know_markets()
    others = [stage.ways(first, second) for _ in range(3)]
    for sandbox in (first, second):
        sandbox.log.clear()
    for _ in range(40):  # twenty minutes
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: one.probe(), [ways, *others]))
        stage.clock.advance(30 * SECOND)
    statuses = [sum(entry.request == "exchangeStatus" for entry in one.log.entries()) for one in (first, second)]
    assert statuses == [40, 40]
    candles = [sum(entry.request == "candleSnapshot" for entry in one.log.entries()) for one in (first, second)]
    assert candles == [2, 2]
    weight = first.log.weight() + second.log.weight()
    assert weight == 80 * 2 + 4 * 21
    with stage.database.connection() as connection:
        assert ways.budget.state(connection).in_flight == 0
    settled = ways.rows("select sum(weight) from hl.rate_limit_spend")
    assert settled[0][0] >= weight  # type: ignore[operator]


PROCESS = """
import sys
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.endpoints import PostgresEndpoints
from hl_pipeline.storage.engine import Database
with Database(sys.argv[1]) as database:
    endpoints = PostgresEndpoints(database)
    with HyperliquidRest(sys.argv[2], budget=PostgresBudget(database, "ways", 1_000_000), registry=endpoints,
                         sleep=lambda _: None) as source:
        endpoints.ensure(source.endpoints)
        for _ in range(2):
            try:
                source.exchange_time_ms()
            except ExchangeUnavailable as error:
                print(error)
"""


def test_a_breaker_that_one_process_opened_is_open_for_the_next(stage: Stage) -> None:
    sandbox = stage.sandbox(DOWN)
    ways = stage.ways(sandbox)
    command = [sys.executable, "-c", PROCESS, stage.database.libpq_url, sandbox.url]
    first = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert len(sandbox.log.entries()) == 5, "four tries, and one that opens it"
    assert "502" in first.stdout.splitlines()[0]
    sandbox.faults.clear()
    second = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert len(sandbox.log.entries()) == 5, "the exchange is well again, but half a minute is not over"
    assert second.stdout.count("rests after 5 errors") == 2
    by_the_server = PostgresEndpoints(stage.database)
    with (
        HyperliquidRest(sandbox.url, budget=ways.budget, registry=by_the_server) as here,
        pytest.raises(ExchangeUnavailable, match="rests after 5 errors"),
    ):
        here.exchange_time_ms()
    assert len(sandbox.log.entries()) == 5


@pytest.mark.parametrize("is_well", [False, True])
def test_of_many_threads_and_processes_one_probes_and_the_others_wait_for_its_verdict(
    stage: Stage, is_well: bool
) -> None:
    sandbox = stage.sandbox(DOWN)
    opener = stage.ways(sandbox)
    for _ in range(2):
        with pytest.raises(ExchangeUnavailable):
            opener.source.exchange_time_ms()
    stage.clock.advance(31 * SECOND)
    sandbox.log.clear()
    if is_well:
        sandbox.faults.clear()
    sandbox.faults.add(Fault(FaultKind.LATENCY, amount=200))  # long enough that all come meanwhile
    together = threading.Barrier(8)

    def ask(source: HyperliquidRest) -> str:
        together.wait()
        try:
            source.exchange_time_ms()
        except TryAgain as error:
            return str(error)
        return "answered"

    sources = [
        stage.stack.enter_context(
            HyperliquidRest(
                sandbox.url, budget=opener.budget, registry=PostgresEndpoints(stage.database, clock=stage.clock)
            )
        )
        for _ in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(ask, sources))
    if is_well:
        assert said == ["answered"] * 8
        assert len(sandbox.log.entries()) == 8
        assert opener.states()[0].breaker is Breaker.CLOSED
    else:
        assert len(sandbox.log.entries()) == 1, "one probe"
        assert sum("502" in text for text in said) == 8, "told what the probe found"
        assert opener.states()[0].breaker is Breaker.OPEN


@pytest.mark.parametrize("seed", range(2))
def test_after_any_hours_of_two_unreliable_ways_every_candle_is_true(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    first, second = stage.sandbox(), stage.sandbox()
    ways = stage.ways(first, second)
    ways.know_markets()
    ways.collect()
    troubles = [
        DOWN,
        Fault(FaultKind.CUT, chance=0.5),
        Fault(FaultKind.HTML),
        Fault(FaultKind.SERVER_ERROR, chance=0.5),
        Fault(FaultKind.UNAVAILABLE, chance=0.5),
        Fault(FaultKind.STALE, amount=20 * SECOND),
        Fault(FaultKind.STALE, amount=5 * MINUTE),
        Fault(FaultKind.RATE_LIMITED, chance=0.3, retry_after="2"),
    ]
    for _ in range(60):
        for sandbox in (first, second):
            if chance.random() < 0.15:
                sandbox.faults.clear()
            if chance.random() < 0.1:
                sandbox.faults.add(chance.choice(troubles))
        stage.clock.advance(chance.randrange(20, 61) * SECOND)
        ways.probe()
        ways.collect()
    for sandbox in (first, second):
        sandbox.faults.clear()
    for _ in range(40):
        stage.clock.advance(MINUTE)
        ways.probe()
        ways.collect()
    assert ways.rows("select count(*) from hl.gap where reason <> 'provisional'") == [(0,)], f"seed {seed}"
    ways.assert_true()


def test_a_disagreement_is_over_a_day_after_the_liar_is_asked_no_more(stage: Stage) -> None:
    honest, liar = stage.sandbox(), stage.sandbox(Fault(FaultKind.SHIFTED, coin="BTC", amount=30))
    ways = stage.ways(honest, liar)
    ways.know_markets()
    assert ways.probe().differing
    alone = stage.ways(honest)
    stage.clock.advance(24 * 60 * MINUTE - SECOND)
    alone.probe()
    with stage.database.connection() as connection:
        assert [alert.rule for alert in open_alerts(connection)] == ["endpoints_disagree"]
    stage.clock.advance(11 * MINUTE)
    alone.probe()
    with stage.database.connection() as connection:
        assert open_alerts(connection) == []
