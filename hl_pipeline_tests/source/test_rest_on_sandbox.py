"""The client against the sandbox exchange: what it reads is the sandbox's truth, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.market import MarketKind
from hl_pipeline.sandbox.faults import ROW_KINDS, Fault, FaultKind, FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage.budget import PostgresBudget
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.source.scripted import BudgetBook

NOW = 1_785_000_030_500
MINUTE = 60_000
END = NOW // MINUTE * MINUTE
#: Bad rows that the row rules themselves refuse; the others are repeats and order.
REFUSED = ROW_KINDS - {FaultKind.DUPLICATE, FaultKind.OUT_OF_ORDER}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(World(7, clock=ManualClock(NOW)), limiter=LimiterMode.OFF) as running:
        yield running


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[HyperliquidRest]:
    sandbox.faults.clear()
    with HyperliquidRest(sandbox.url, budget=BudgetBook(), sleep=lambda _: None) as made:
        yield made


def hour_of(coin: str = "BTC", interval: Interval = Interval.M1) -> CandleRequest:
    end = interval.floor(NOW)
    return CandleRequest(SeriesKey(coin, interval), end - 60 * interval.milliseconds, end)


def test_every_interval_reads_as_the_truth(sandbox: RunningSandbox, client: HyperliquidRest) -> None:
    for interval in Interval:
        asked = hour_of("BTC", interval)
        got = client.candles(asked)
        assert got.candles == sandbox.truth.candles("BTC", interval, asked.start_ms, asked.end_ms)
        assert (len(got.candles), got.rejected, got.outside) == (60, [], 0)


def test_the_open_slot_is_read_when_asked_for(client: HyperliquidRest) -> None:
    asked = CandleRequest(SeriesKey("BTC", Interval.M1), END - MINUTE, END + MINUTE)
    assert [candle.open_ms for candle in client.candles(asked).candles] == [END - MINUTE, END]


def test_every_market_and_context_is_read(sandbox: RunningSandbox, client: HyperliquidRest) -> None:
    got = client.markets(client.perp_dexs(), spot=True)
    assert {market.coin for market in got.markets} == {market.coin for market in sandbox.world.listed(NOW)}
    assert {market.kind for market in got.markets} == set(MarketKind)
    assert got.rejected == []
    assert client.exchange_time_ms() == NOW
    assert "BTC" in client.all_mids()
    rates, rejected, _ = client.funding_history("BTC", NOW - 86_400_000, NOW)
    assert (len(rates), rejected) == (24, [])


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_bad_row_is_refused_alone(sandbox: RunningSandbox, client: HyperliquidRest, kind: FaultKind) -> None:
    sandbox.faults.add(Fault(kind, times=1))
    got = client.candles(hour_of())
    assert (len(got.candles), len(got.rejected)) == (59, 1)


@pytest.mark.parametrize("kind", [FaultKind.DUPLICATE, FaultKind.OUT_OF_ORDER])
def test_repeats_and_disorder_do_no_harm(sandbox: RunningSandbox, client: HyperliquidRest, kind: FaultKind) -> None:
    clean = client.candles(hour_of()).candles
    sandbox.faults.add(Fault(kind, times=1))
    got = client.candles(hour_of())
    assert (got.candles, got.rejected) == (clean, [])


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.RATE_LIMITED,
        FaultKind.SERVER_ERROR,
        FaultKind.BAD_GATEWAY,
        FaultKind.UNAVAILABLE,
        FaultKind.CUT,
        FaultKind.HTML,
        FaultKind.NULL,
        FaultKind.OBJECT,
        FaultKind.TRUNCATED,
    ],
)
def test_one_failure_is_healed_by_asking_again(
    sandbox: RunningSandbox, client: HyperliquidRest, kind: FaultKind
) -> None:
    sandbox.faults.add(Fault(kind, times=1))
    assert len(client.candles(hour_of()).candles) == 60
    assert client.stats.retries == 1


def test_an_unknown_coin_is_named_as_one_of_two_causes(client: HyperliquidRest) -> None:
    with pytest.raises(ExchangeUnavailable, match="does not know the coin"):
        client.candles(hour_of("NOSUCH"))


def test_under_seeded_faults_every_answer_that_comes_is_the_truth(database: Database) -> None:
    """Budget, client and limiter together: nothing is answered 429, because the budget spends less than is granted."""
    world = World(11, clock=ManualClock(NOW))
    clock = ManualClock(NOW)
    limiter = WeightLimiter(LimiterMode.BUCKET, clock, per_minute=1200)
    budget = PostgresBudget(database, "sandbox", 600, clock=clock)
    budget.ensure()
    faults = FaultPlan(5, [Fault(kind, chance=0.05) for kind in (FaultKind.CUT, FaultKind.HTML, FaultKind.UNAVAILABLE)])
    with (
        RunningSandbox(world, limiter=limiter, faults=faults) as sandbox,
        HyperliquidRest(
            sandbox.url,
            budget=budget,
            patience=Patience(total_s=3600.0),
            sleep=lambda seconds: clock.advance(int(seconds * 1000) + 1),
        ) as client,
    ):
        for coin in ("BTC", "ETH", "SOL", "ARB", "OP") * 10:
            asked = hour_of(coin)
            assert client.candles(asked).candles == sandbox.truth.candles(
                coin, Interval.M1, asked.start_ms, asked.end_ms
            )
        stats = client.stats
    assert stats.retries > 0
    assert stats.refusals > 0
    assert stats.status_429 == 0
