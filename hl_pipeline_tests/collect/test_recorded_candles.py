"""Candles recorded elsewhere: real trades make real minutes, real minutes make real five minutes, real gaps are found.

The rows come from another exchange that leaves quiet minutes out; here they are what ours would answer.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable, PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.storage import series
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures" / "candles"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded candles are not beside this checkout")
MINUTE = 60_000
HOUR = 60 * MINUTE
Values = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


class Replay(FakeExchange):
    """Answers 1m requests with the recorded rows inside their span, and with made-up ones outside it."""

    def __init__(self, clock: ManualClock, rows: Iterable[Candle]) -> None:
        super().__init__(clock, markets=[market("REAL")])
        self.key = SeriesKey("REAL", Interval.M1)
        recorded = {row.open_ms: row for row in rows}
        self.first_ms, self.last_ms = min(recorded), max(recorded)
        self.changed = {(self.key, at): row for at, row in recorded.items()}
        self.hidden = {(self.key, at) for at in range(self.first_ms, self.last_ms, MINUTE) if at not in recorded}


def recorded(name: str) -> dict[int, Values]:
    """Open time to (open, high, low, close, volume), as the shortest decimals that read back the same."""
    table = pd.read_feather(RECORDED / name)
    opens = table["date"].astype("datetime64[ms, UTC]").astype("int64")
    columns = [
        [Decimal(repr(float(value))) for value in table[word]] for word in ("open", "high", "low", "close", "volume")
    ]
    return {int(at): (o, h, low, c, v) for at, o, h, low, c, v in zip(opens, *columns, strict=True)}


def minutes_of_trades() -> list[Candle]:
    """The recorded trades, in their order, as 1m candles: the plainest aggregation there is."""
    with gzip.open(RECORDED / "freqtrade_XRP_ETH_trades_part.json.gz", "rt") as file:
        trades = json.load(file, parse_float=Decimal)
    made = []
    for at, group in itertools.groupby(trades, key=lambda trade: trade[0] // MINUTE * MINUTE):
        prices_and_amounts = [(Decimal(trade[4]), Decimal(trade[5])) for trade in group]
        prices = [price for price, _ in prices_and_amounts]
        volume = sum((amount for _, amount in prices_and_amounts), Decimal(0))
        o, h, low, c = (str(price) for price in (prices[0], max(prices), min(prices), prices[-1]))
        made.append(Candle(at, o, h, low, c, str(volume), len(prices)))
    return made


def values(candle: Candle) -> Values:
    o, h, low, c, v = (Decimal(text) for text in candle[1:6])
    return (o, h, low, c, v)


def flat_minutes(name: str) -> list[Candle]:
    """The recorded minutes as candles, each with one trade: how many there were is not recorded."""
    return [Candle(at, str(o), str(h), str(low), str(c), str(v), 1) for at, (o, h, low, c, v) in recorded(name).items()]


def collect_all(database: Database, exchange: Replay, clock: ManualClock, intervals: tuple[Interval, ...]) -> None:
    """Follow the exchange from before the first recorded row until its quiet minutes are proven empty."""
    refresh_markets(exchange, database, clock, coins=["REAL"], intervals=intervals)
    while clock.now_ms() < exchange.last_ms + 10 * HOUR:
        fill(exchange, database, clock, FillPolicy(concurrency=1))
        with database.connection() as connection:
            assert series.violations(connection) == []
        clock.advance(min(36 * HOUR, max(3 * HOUR, exchange.last_ms - clock.now_ms())))


def test_real_trades_are_their_real_minutes() -> None:
    real = recorded("freqtrade_XRP_ETH_1m_part.feather")
    made = {candle.open_ms: values(candle) for candle in minutes_of_trades()}
    assert made == real
    assert len(real) == 1478


def test_real_minutes_make_their_real_five_minutes(database: Database) -> None:
    minutes = minutes_of_trades()
    clock = ManualClock(minutes[0].open_ms - HOUR + 20_000)
    exchange = Replay(clock, minutes)

    def only_minutes(request: CandleRequest) -> PipelineError | None:
        asks_for_recorded = request.series.interval is Interval.M5 and request.end_ms > exchange.first_ms
        return ExchangeUnavailable("only minutes are on offer") if asks_for_recorded else None

    exchange.error = only_minutes
    collect_all(database, exchange, clock, (Interval.M1, Interval.M5))

    with database.connection() as connection:
        rows = connection.execute(
            "select hl.epoch_ms(open_time), open, high, low, close, volume, source, finality from hl.candles"
            " where interval = '5m'"
        ).fetchall()
    derived = {
        at: tuple(rest[:5]) for at, *rest in rows if exchange.first_ms <= at and rest[5:] == ["derived", "final"]
    }
    real = recorded("freqtrade_XRP_ETH_5m_part.feather")
    complete = {at: row for at, row in real.items() if at + 5 * MINUTE <= exchange.last_ms}
    assert len(complete) >= 425
    assert {at: derived.get(at) for at in complete} == complete
    assert set(derived) & set(range(exchange.first_ms, exchange.last_ms - 5 * MINUTE, 5 * MINUTE)) == set(complete)


def test_the_real_gaps_of_a_thin_market_are_found_exactly(database: Database) -> None:
    minutes = flat_minutes("freqtrade_UNITTEST_BTC-1m.feather")
    clock = ManualClock(minutes[0].open_ms - HOUR + 20_000)
    exchange = Replay(clock, minutes)
    collect_all(database, exchange, clock, (Interval.M1,))

    with database.connection() as connection:
        runs = connection.execute(
            "select hl.epoch_ms(lower(run)), hl.epoch_ms(upper(run)) from hl.coverage cross join unnest(empty) run"
        ).fetchall()
        assert connection.execute("select slots from hl.gap where reason <> 'provisional'").fetchall() == []
    found = {at for start, end in runs for at in range(start, end, MINUTE)}
    hidden = {at for _, at in exchange.hidden}
    assert (sorted(found - hidden), sorted(hidden - found)) == ([], [])
    assert (len(runs), len(found)) == (538, 717)
