"""What the exchange, and the way to it, do wrong."""

from __future__ import annotations

from collections.abc import Generator

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.stage import Stage
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.sandbox.faults import Fault, FaultKind

THEME = "exchange"
API, BUDGET, ENDPOINTS = "markets/api_answers", "markets/budget_has_room", "endpoint_health/endpoints_healthy"


def _faults(stage: Stage, *faults: Fault) -> Generator[None]:
    """These faults hold until the trouble is over."""
    stage.exchange.faults.add(*faults)
    yield
    stage.exchange.faults.clear()


def down(stage: Stage) -> Generator[None]:
    """Every request and every probe is answered with 502."""
    stage.jobs = ["collect", "health"]  # the former's checks are not judged when it fails
    return _faults(stage, Fault(FaultKind.BAD_GATEWAY))


def one_market_refused(stage: Stage) -> Generator[None]:
    """The exchange answers for BTC and ETH, and with 500 for SOL."""
    return _faults(stage, Fault(FaultKind.SERVER_ERROR, coin="SOL"))


def slow(stage: Stage) -> Generator[None]:
    """Each answer takes more than a second."""
    return _faults(stage, Fault(FaultKind.LATENCY, amount=1_300))


def limited(stage: Stage) -> Generator[None]:
    """Somebody else uses our address: every other answer is a 429."""
    return _faults(stage, Fault(FaultKind.RATE_LIMITED, chance=0.5))


def budget_spent(stage: Stage) -> Generator[None]:
    """Another program of ours has spent the whole weight budget, again and again, for three minutes."""
    stage.sabotage(
        b"insert into hl.rate_limit_spend (key, at, weight, lane, settled)"
        b" select key, clock_timestamp() + interval '20 seconds', max_weight, 'backfill', true from hl.rate_limit",
        b"update hl.rate_limit set refused_since = clock_timestamp() - interval '3 minutes',"
        b" refused_total = refused_total + 20",
    )
    stage.jobs = ["health"]  # a collection would only wait
    yield
    stage.sabotage(b"delete from hl.rate_limit_spend")
    stage.jobs = ["collect"]


def one_market_late(stage: Stage) -> Generator[None]:
    """The exchange publishes nothing more of SOL, and goes on with the others."""
    stage.jobs = ["collect", "health"]
    first = Interval.M1.floor(stage.now_ms)
    for interval in Interval:
        step = interval.milliseconds
        opens = tuple(range(interval.floor(first), first + 600 * MINUTE_MS, step))
        stage.exchange.faults.late("SOL", str(interval), opens)
    yield
    stage.exchange.faults.clear()


def candles_vanish(stage: Stage) -> Generator[None]:
    """Five candles of ETH that the exchange has shown are missing from its answers."""
    last = Interval.M1.floor(stage.now_ms) - 20 * MINUTE_MS
    opens = tuple(last - n * MINUTE_MS for n in range(5))
    stage.exchange.faults.add(Fault(FaultKind.VANISHED, "ETH", "1m", opens_ms=opens))
    window = ("collect", "--again", "--coins", "ETH", "--intervals", "1m", "--window")
    around = stage.window(opens[-1] - 10 * MINUTE_MS, opens[0] + 10 * MINUTE_MS)
    assert stage.hl(*window, around).code == 0
    yield
    stage.exchange.faults.clear()
    assert stage.hl(*window, around).code == 0


TROUBLES = (
    Trouble(
        "the exchange is down", "every request is answered with 502", THEME, down,
        rules=("exchange_down",), checks=(API, ENDPOINTS), health=("api_answers", "endpoints_healthy"), exit_code=1,
        calm=(1, 1, 1, 3, 5, 5, 5),
    ),
    Trouble(
        "requests fail now and then", "the exchange answers 500 for one market of three", THEME, one_market_refused,
        rules=("error_rate",), checks=(API,), health=("api_answers",), exit_code=0,
        calm=(1, 1, 3, 5, 5, 5),
    ),
    Trouble(
        "the exchange is slow", "each answer takes 1.3 s", THEME, slow,
        rules=("api_latency",), seek=(5, 5, 1, 1, 5, 5), calm=(5, 5, 5, 1),
    ),
    Trouble(
        "429s", "another program shares our address: every other answer is a 429", THEME, limited,
        rules=("rate_limited",), checks=(BUDGET,), health=("budget_has_room",), exit_code=0, calm=(2, 2, 2),
    ),
    Trouble(
        "the weight budget is spent", "another process of ours takes all weight for three minutes", THEME, budget_spent,
        rules=("budget_exhausted",), checks=(BUDGET,), health=("budget_has_room",), exit_code=0,
        healing="the other process is ended",
    ),
    Trouble(
        "one market stands still", "nothing new is published of SOL, the others go on", THEME, one_market_late,
        rules=("stale", "confidence"),
        checks=("live_candles/fresh_1m", "live_candles/fresh_5m", "latest_metrics/data_trusted"),
        health=("fresh_1m", "data_trusted"), seek=(2, 2, 2, 2, 5, 5, 5), says="SOL",
    ),
    Trouble(
        "candles vanish", "five candles that were shown are missing from later answers", THEME, candles_vanish,
        rules=("rows_vanished",), checks=("live_candles/no_vanished_rows",), health=("no_vanished_rows",), exit_code=0,
        healing="the window is read again: `hl collect --again --window`",
    ),
)  # fmt: skip
