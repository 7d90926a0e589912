"""Somebody writes past the pipeline, or the venue's own candles contradict its minutes."""

from __future__ import annotations

from collections.abc import Generator

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.stage import Stage
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime
from hl_pipeline.sandbox.faults import Fault, FaultKind

THEME = "rows"
_OF_BTC = b"""
    series_id = (
        select series_id from hl.series join hl.market using (market_id) where coin = 'BTC' and interval = '1m'
    )
"""
_AGGREGATED = tuple(str(interval) for interval in Interval if interval is not Interval.M1)


def rows_deleted(stage: Stage) -> Generator[None]:
    """Thirty minutes of BTC are deleted."""
    stage.jobs = ["collect", "contracts"]
    first = Interval.M1.floor(stage.now_ms) - 90 * MINUTE_MS
    last = first + 30 * MINUTE_MS
    stage.sabotage(
        b"delete from hl.candle where" + _OF_BTC + b"and open_time >= %(first)s and open_time < %(last)s",
        first=to_datetime(first),
        last=to_datetime(last),
    )
    yield
    window = stage.window(first, last)
    again = stage.hl("collect", "--again", "--coins", "BTC", "--intervals", "1m", "--window", window)
    assert again.code == 0, again.err


def row_off_the_grid(stage: Stage) -> Generator[None]:
    """A candle of BTC is moved by seven seconds."""
    stage.jobs = ["collect", "contracts"]
    open_ms = Interval.M1.floor(stage.now_ms) - 90 * MINUTE_MS
    at = {"at": to_datetime(open_ms), "wrong": to_datetime(open_ms + 7_000)}
    stage.sabotage(b"update hl.candle set open_time = %(wrong)s where" + _OF_BTC + b"and open_time = %(at)s", **at)
    yield
    stage.sabotage(b"delete from hl.candle where" + _OF_BTC + b"and open_time = %(wrong)s", **at)
    window = stage.window(open_ms, open_ms + MINUTE_MS)
    again = stage.hl("collect", "--again", "--coins", "BTC", "--intervals", "1m", "--window", window)
    assert again.code == 0, again.err


def scores_deleted(stage: Stage) -> Generator[None]:
    """The confidence of all series is deleted, and the view of the latest metrics refreshed."""
    stage.jobs = ["contracts"]
    stage.sabotage(b"delete from hl.confidence", b"refresh materialized view hl.latest_metrics")
    yield
    stage.jobs = ["contracts"]
    assert stage.run("recalculate_confidence").success


def contradicted(stage: Stage) -> Generator[None]:
    """The venue's own candles of 5m to 1d are a hundredth above what its minutes make; later they are right."""
    stage.jobs = ["collect", "contracts"]
    faults = [Fault(FaultKind.SHIFTED, "BTC", interval, amount=100) for interval in _AGGREGATED]
    stage.exchange.faults.add(*faults)
    midnight = Interval.D1.floor(stage.now_ms)
    again = (
        "collect",
        "--again",
        "--coins",
        "BTC",
        "--window",
        stage.window(midnight - Interval.D1.milliseconds, midnight),
    )
    assert stage.hl(*again).code == 0
    yield
    stage.exchange.faults.clear()
    assert stage.hl(*again).code == 0
    for _ in range(8):  # what was mended is told for a day
        stage.clock.advance(180 * MINUTE_MS)
        assert stage.run("collect").success


def month_mutilated(stage: Stage) -> Generator[None]:
    """Of each of BTC's series one candle of this month is deleted; then its months are recorded again."""
    midnight = Interval.D1.floor(stage.now_ms)
    stage.sabotage(
        b"delete from hl.candle where open_time = %(at)s and series_id in ("
        b"select series_id from hl.series join hl.market using (market_id) where coin = 'BTC')",
        at=to_datetime(midnight - Interval.D1.milliseconds),
    )
    this_month = ("BTC|2026-07-01", "BTC|2026-07-01")
    stage.run("backfill_candles", partitions=this_month)
    yield
    window = stage.window(midnight - Interval.D1.milliseconds, midnight)
    again = stage.hl("collect", "--again", "--coins", "BTC", "--window", window)
    assert again.code == 0, again.err
    assert stage.run("backfill_candles", partitions=this_month).success, stage.said


def market_mangled(stage: Stage) -> Generator[None]:
    """Somebody gave SOL a leverage of nothing."""
    stage.jobs = ["contracts"]
    stage.sabotage(b"update hl.market set max_leverage = null where coin = 'SOL'")
    yield
    assert stage.run("refresh_markets").success


def quote_mangled(stage: Stage) -> Generator[None]:
    """Somebody doubled BTC's newest mid price; an hour later it is judged no more."""
    stage.jobs = ["collect", "contracts"]
    stage.sabotage(
        b"update hl.market_context set mid_price = 2 * mid_price where (market_id, seen_at) = ("
        b"select market_id, max(seen_at) from hl.market_context join hl.market using (market_id)"
        b" where coin = 'BTC' group by market_id)"
    )
    yield
    for _ in range(6):
        stage.clock.advance(10 * MINUTE_MS)
        assert stage.run("collect").success


def funding_twice(stage: Stage) -> Generator[None]:
    """An hour of BTC has two funding rates; a person finds out by fetch_id which is ours, and deletes it."""
    stage.jobs = ["contracts"]
    second = b"""
        insert into hl.funding_rate (market_id, time, rate, premium, fetch_id)
        select market_id, time + interval '7 minutes', rate, premium, fetch_id
        from hl.funding_rate join hl.market using (market_id) where coin = 'BTC' order by time desc limit 1
    """
    stage.sabotage(second)
    yield
    stage.sabotage(b"delete from hl.funding_rate where extract(minute from time) = 7")


TROUBLES = (
    Trouble(
        "candles are deleted", "half an hour of BTC's minutes is deleted past the pipeline", THEME, rows_deleted,
        rules=("check_failed",), checks=("data_contracts/ledger_holds",), says="final in the ledger",
        healing="the window is read again: `hl collect --again --window`",
    ),
    Trouble(
        "a candle breaks the contract", "one of BTC's minutes is moved off the grid", THEME, row_off_the_grid,
        rules=("contract_broken",), checks=("live_candles/rows_keep_contract", "data_contracts/candles_contract"),
        health=("rows_keep_contract",), exit_code=1,
        healing="the row is deleted, and its window read again: `hl collect --again --window`",
    ),
    Trouble(
        "metrics without confidence", "all confidence scores are deleted", THEME, scores_deleted,
        rules=("check_failed",), checks=("data_contracts/metrics_contract",), healing="the job recalculate_confidence",
    ),
    Trouble(
        "a month is not what was recorded", "of each of BTC's series one candle is deleted", THEME, month_mutilated,
        rules=("check_failed",), checks=tuple(f"candles_{interval}/month_keeps_contract" for interval in Interval),
        healing="the window is read again (`hl collect --again --window`), and the partition materialized",
    ),
    Trouble(
        "a market is mangled", "SOL has no leverage any more", THEME, market_mangled,
        rules=("check_failed",), checks=("data_contracts/markets_contract",), healing="the job refresh_markets",
    ),
    Trouble(
        "a quote is mangled", "BTC's newest mid price is twice what it was", THEME, quote_mangled,
        rules=("check_failed",), checks=("data_contracts/contexts_contract",),
        healing="by itself, when the quote is an hour old",
    ),
    Trouble(
        "an hour is paid twice", "an hour of BTC has two funding rates", THEME, funding_twice,
        rules=("check_failed",), checks=("data_contracts/funding_contract",), healing="the second rate is deleted",
    ),
    Trouble(
        "the venue contradicts itself", "BTC's 5m to 1d candles are 1 % above what its minutes make", THEME,
        contradicted,
        rules=("check_failed",), checks=tuple(f"data_contracts/reconciles_{interval}" for interval in _AGGREGATED),
        healing="the window is read again (`hl collect --again --window`); what was mended is told for a day",
    ),
)  # fmt: skip
