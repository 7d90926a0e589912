"""What happens to markets: they are listed, delisted, missing, they jump, they get dear."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.ground import BEGINS_MS, COINS
from benchmarks.troubles.stage import Stage
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.catalogue import MarketSpec, markets_named

THEME = "markets"
#: When it happens: on a whole minute, shortly after the trouble begins.
_AT_MS = BEGINS_MS - BEGINS_MS % MINUTE_MS + 5 * MINUTE_MS


def _usual() -> Sequence[MarketSpec]:
    return markets_named(*COINS)


def _with_a_new_one() -> Sequence[MarketSpec]:
    (new,) = markets_named("AVAX")
    return (*_usual(), replace(new, listed_ms=_AT_MS))


def _until(*, delisted_ms: int | None = None, withdrawn_ms: int | None = None) -> Sequence[MarketSpec]:
    """The usual ones, SOL no longer than this."""
    *others, sol = _usual()
    assert sol.coin == "SOL", "the catalogue has another order"
    return (*others, replace(sol, delisted_ms=delisted_ms, withdrawn_ms=withdrawn_ms))


def _with_a_wild_one() -> Sequence[MarketSpec]:
    (wild,) = markets_named("DOGE")
    return (*_usual(), replace(wild, volatility=0.03))


def watched(stage: Stage) -> Generator[None]:
    """The markets are refreshed at each beat, as they are hourly."""
    stage.jobs = ["refresh_markets", "collect"]
    yield


def missing(stage: Stage) -> Generator[None]:
    """The exchange names SOL no more, without calling it delisted; later it does again."""
    stage.jobs = ["refresh_markets", "collect"]
    yield
    stage.recast(_usual())


def jumps(stage: Stage) -> Generator[None]:
    """DOGE moves by 3 % a minute; a person who knows why gives it a bound of its own."""
    stage.jobs = ["refresh_markets", "collect"]
    yield
    assert stage.hl("alerts", "rule", "price_move", "--coin", "DOGE", "--threshold", "1000").code == 0


def dear(stage: Stage) -> Generator[None]:
    """Somebody wants to know when BTC's funding is beyond a millionth an hour; later no more."""
    rule = ("alerts", "rule", "funding_extreme", "--coin", "BTC", "--threshold")
    assert stage.hl(*rule, "0.000001").code == 0
    yield
    assert stage.hl(*rule, "1").code == 0


TROUBLES = (
    Trouble(
        "a market is listed", "AVAX is new on the exchange, and is wanted", THEME, watched,
        rules=("market_listed",), cast=_with_a_new_one, seek=(3, 3, 1, 1), calm=(2, 2, 5),
        healing="by itself, with its first candles", says="AVAX",
    ),
    Trouble(
        "a market is delisted", "SOL is delisted", THEME, watched,
        rules=("market_delisted",), cast=lambda: _until(delisted_ms=_AT_MS), seek=(3, 3, 1, 1),
        calm=(30, 30, 30, 30, 240), healing="by itself, when its last series, the daily one, has ended", says="SOL",
    ),
    Trouble(
        "a market is missing", "the exchange names SOL no more, and does not call it delisted", THEME, missing,
        rules=("markets_absent",), cast=lambda: _until(withdrawn_ms=_AT_MS), seek=(3, 3, 1, 1),
        healing="by itself, when the exchange names it again", says="SOL",
    ),
    Trouble(
        "a price jumps", "DOGE moves by 3 % a minute", THEME, jumps,
        rules=("price_move",), cast=_with_a_wild_one, seek=(15, 20, 20, 5, 5), calm=(1, 1),
        healing="a bound of its own: `hl alerts rule price_move --coin DOGE --threshold 1000`", says="DOGE",
    ),
    Trouble(
        "funding is dear", "BTC's funding is beyond the bound that a person gave it", THEME, dear,
        rules=("funding_extreme",), calm=(1, 1),
        healing="another bound: `hl alerts rule funding_extreme --coin BTC --threshold 1`", says="BTC",
    ),
)  # fmt: skip
