"""One answer into Postgres: its rows, the ledger and its provenance, in one transaction or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from hl_pipeline.model.answer import CandleAnswer
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import LedgerChange, ProofPolicy, SlotsSeen, expire, fail, prove
from hl_pipeline.model.span import Span
from hl_pipeline.notify.alerts import slots_lost
from hl_pipeline.storage import alerts, candles, coverage, fetches, series
from hl_pipeline.storage.candles import Landed
from hl_pipeline.storage.engine import Connection


@dataclass(frozen=True, slots=True)
class Landing:
    """What one answer changed: in the candle table, and in the ledger."""

    rows: Landed
    change: LedgerChange


def land_answer(
    connection: Connection, series_id: int, fetch_id: int, answer: CandleAnswer, asked_ms: int, policy: ProofPolicy
) -> Landing:
    """Store the answer and what it proves. ``connection`` is in a transaction; partitions exist."""
    before = series.lock(connection, series_id)
    change = prove(before, slots_seen(answer, asked_ms), policy)
    rows = candles.land(
        connection,
        series_id,
        before.key.interval,
        answer.candles,
        fetch_id=fetch_id,
        asked_ms=asked_ms,
        settle_ms=policy.settle_ms,
    )
    series.write(connection, before, change, asked_ms)
    fetches.landed(connection, fetch_id, answer.receipt, rows=len(answer.candles), rejected=answer.rejected)
    return Landing(rows, change)


def land_failure(
    connection: Connection,
    series_id: int,
    fetch_id: int,
    asked: Span,
    asked_ms: int,
    error: PipelineError,
    policy: ProofPolicy,
) -> None:
    """Record that a request got no usable answer: its slots stay a gap that waits longer."""
    before = series.lock(connection, series_id)
    series.write(connection, before, fail(before, asked, asked_ms, policy), asked_ms)
    fetches.failed(connection, fetch_id, error)


def land_expiry(connection: Connection, series_id: int, now_ms: int) -> LedgerChange:
    """Enter as lost what the exchange has forgotten, and raise the series' alert with it."""
    before = series.lock(connection, series_id)
    change = expire(before, now_ms)
    series.write(connection, before, change, None)
    if change.lost:
        in_all = coverage.lost_slots(connection, series_id)
        alerts.raise_alert(connection, slots_lost(before.key, change.lost, in_all), now_ms)
    return change


def slots_seen(answer: CandleAnswer, asked_ms: int) -> SlotsSeen:
    """The answer as the ledger sees it: which slots had a row, and whether quiet or bad rows were among them."""
    request = answer.request
    closed_before = asked_ms - request.series.interval.milliseconds
    return SlotsSeen(
        asked=Span(request.start_ms, request.end_ms),
        asked_ms=asked_ms,
        open_times=[candle.open_ms for candle in answer.candles],
        has_quiet_rows=any(
            candle.open_ms <= closed_before and candle.high == candle.low
            for candle in answer.candles
            if candle.trades == 0
        ),
        has_rejected_rows=bool(answer.rejected),
    )


def needs_expiry(known_until_ms: int, oldest_gap_ms: int | None, interval: Interval, now_ms: int) -> bool:
    """Whether the exchange has forgotten slots that the ledger still hopes for."""
    oldest = known_until_ms if oldest_gap_ms is None else min(known_until_ms, oldest_gap_ms)
    return oldest < interval.oldest_reachable(now_ms)
