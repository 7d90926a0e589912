"""The settle time in force follows an exchange that corrects its candles, or lags behind, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.settle import SettleTime
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.sandbox.worlds import NOW

MINUTE = 60_000
COINS = ("BTC", "ETH", "SOL", "ARB")
#: How long after the minute each tick comes, in turn.
AGES_MS = (12_000, 18_000, 27_000)
#: So long after its close a candle is not what it will be.
UNSETTLED_MS = 20_000


class Minutes:
    """An exchange, and a pipeline that is opened anew for each minute's tick."""

    def __init__(self, database: Database, sandbox: RunningSandbox, clock: ManualClock, **given: object) -> None:
        self.database, self.sandbox, self.clock = database, sandbox, clock
        self.settings = Settings.model_validate(
            {
                "venue": "sandbox", "endpoint": sandbox.url, "markets": COINS, "universe": Universe.LIST,
                "intervals": (Interval.M1,), "weight_per_minute": 100_000, **given,
            }
        )  # fmt: skip
        self.minute_ms = Interval.M1.ceil(clock.now_ms())
        self.number = 0
        with open_pipeline(self.settings, database=database, clock=clock) as pipeline:
            refresh_markets(pipeline.source, database, clock, coins=COINS, intervals=(Interval.M1,))

    def pass_by(self, minutes: int, trouble: Callable[[int], Fault] | None = None) -> SettleTime:
        """Live through so many minutes with a tick in each; the settle time that the next tick has."""
        for _ in range(minutes):
            if trouble is not None:
                self.sandbox.faults.add(trouble(self.minute_ms))
            self.clock.set(self.minute_ms + AGES_MS[self.number % len(AGES_MS)])
            with open_pipeline(self.settings, database=self.database, clock=self.clock) as pipeline:
                assert pipeline.policy.proof.settle_ms == pipeline.settle.ms
                fill(pipeline.source, self.database, self.clock, pipeline.policy, only=live_slots)
            self.minute_ms += MINUTE
            self.number += 1
        with open_pipeline(self.settings, database=self.database, clock=self.clock) as pipeline:
            return pipeline.settle

    def final_values_that_changed_since(self, close_ms: int) -> int:
        with self.database.connection() as connection:
            row = connection.execute(
                "select count(*) from hl.candle_revision"
                " where finality = 'f' and hl.epoch_ms(open_time) + 60000 >= %(close)s",
                {"close": close_ms},
            ).fetchone()
        assert row is not None
        return int(row[0])


def corrected(close_ms: int) -> Fault:
    """The candle that closes now shows half its volume for a while."""
    return Fault(FaultKind.REVISED, opens_ms=(close_ms - MINUTE,), until_ms=close_ms + UNSETTLED_MS)


def lagging(close_ms: int) -> Fault:
    """For a minute the exchange answers as it would have a while ago."""
    return Fault(FaultKind.STALE, since_ms=close_ms, until_ms=close_ms + MINUTE, amount=UNSETTLED_MS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[RunningSandbox]:
    world = World(7, clock=clock, history_days=1)
    manners = Manners(QuietMode.DENSE)
    with RunningSandbox(world, limiter=LimiterMode.OFF, manners=manners, instant=True) as running:
        yield running


@pytest.mark.parametrize("trouble", [corrected, lagging])
def test_it_grows_while_the_exchange_corrects_or_lags_and_shrinks_when_it_does_not(
    database: Database, sandbox: RunningSandbox, clock: ManualClock, trouble: Callable[[int], Fault]
) -> None:
    minutes = Minutes(database, sandbox, clock)
    assert minutes.pass_by(4).sentence.startswith("10 s: none of ")
    found = minutes.pass_by(6, trouble)
    assert found.ms == 25_000
    assert found.sentence.startswith("10 s -> 25 s because ")
    since = minutes.minute_ms
    assert minutes.pass_by(9, trouble).ms == 25_000
    assert minutes.final_values_that_changed_since(since) == 0, "a candle was trusted too early"
    assert minutes.pass_by(15).ms == 25_000, "half an hour must pass first"
    assert minutes.pass_by(18).ms == 10_000


def test_a_settle_time_of_the_users_own_stays(database: Database, sandbox: RunningSandbox, clock: ManualClock) -> None:
    minutes = Minutes(database, sandbox, clock, settle_seconds=10)
    found = minutes.pass_by(6, corrected)
    assert (found.ms, found.is_fixed) == (10_000, True)
    assert found.sentence == "10 s, as HL_SETTLE_SECONDS says"
