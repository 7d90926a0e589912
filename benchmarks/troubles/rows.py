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
        "the venue contradicts itself", "BTC's 5m to 1d candles are 1 % above what its minutes make", THEME,
        contradicted,
        rules=("check_failed",), checks=tuple(f"data_contracts/reconciles_{interval}" for interval in _AGGREGATED),
        healing="the window is read again (`hl collect --again --window`); what was mended is told for a day",
    ),
)  # fmt: skip
