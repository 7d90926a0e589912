"""One answer into Postgres: its rows, the ledger and its provenance, in one transaction or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from hl_pipeline.collect import failures
from hl_pipeline.model.answer import CandleAnswer
from hl_pipeline.model.failure import ExchangeUnavailable, PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import (
    GapReason,
    LedgerChange,
    ProofPolicy,
    SeriesState,
    SlotsSeen,
    expire,
    fail,
    prove,
    settle,
)
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.notify.alerts import LOSS_QUIET_MS, slots_lost
from hl_pipeline.source.service import Ambiguous
from hl_pipeline.storage import alerts, candles, coverage, derivation, fetches, series, vanished
from hl_pipeline.storage.candles import Landed
from hl_pipeline.storage.engine import Connection


@dataclass(frozen=True, slots=True)
class Landing:
    """What one answer changed: in the candle table, and in the ledger.

    ``derived`` slots of larger intervals were settled by it.
    """

    rows: Landed
    change: LedgerChange
    derived: int = 0


def land_answer(
    connection: Connection, series_id: int, fetch_id: int, answer: CandleAnswer, asked_ms: int, policy: ProofPolicy
) -> Landing:
    """Store the answer and what it proves, for its series and those derived from it.

    ``connection`` is in a transaction; partitions exist.
    """
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
    vanished.compare(
        connection,
        series_id,
        answer.candles,
        before.key.interval,
        fetch_id=fetch_id,
        asked_ms=asked_ms,
        is_whole=not answer.rejected,
    )
    series.write(connection, before, change, asked_ms)
    failures.after_answer(connection, before, change, answer, asked_ms, fetch_id)
    settled = _derive_upward(connection, answer, change.state, fetch_id, asked_ms, policy)
    fetches.landed(connection, fetch_id, answer.receipt, rows=len(answer.candles), rejected=answer.rejected)
    return Landing(rows, change, settled)


def _derive_upward(
    connection: Connection, answer: CandleAnswer, state: SeriesState, fetch_id: int, asked_ms: int, policy: ProofPolicy
) -> int:
    """Make the larger candles that 1m candles complete or change; how many slots that settled.

    In the answer's own transaction, so that no crash leaves a parent that differs from its children.
    """
    span = _derivable(answer, state)
    if span is None:
        return 0
    settled = 0
    for parent in derivation.upward(connection, state.series_id, span, fetch_id, asked_ms, policy.settle_ms):
        before = series.load_one(connection, parent.series_id)
        change = settle(before, parent.final, parent.empty, asked_ms)
        series.write(connection, before, change, None)
        failures.after_change(connection, before, change, asked_ms)
        settled += change.final.slots(before.step_ms) + change.empty.slots(before.step_ms)
    return settled


def _derivable(answer: CandleAnswer, state: SeriesState) -> Span | None:
    """What the answer may settle in other series (1m), or what it left open in its own though 1m may know it."""
    asked = SpanSet.single(answer.request.start_ms, answer.request.end_ms)
    if state.is_derived:
        asked &= SpanSet.of(gap.span for gap in state.gaps)
    elif state.key.interval is not Interval.M1:
        return None
    return Span(asked.spans[0].start_ms, asked.spans[-1].end_ms) if asked else None


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
    change = fail(before, asked, asked_ms, policy, reason_of(error))
    series.write(connection, before, change, asked_ms)
    failures.after_failure(connection, change.state, asked, asked_ms, fetch_id, error)
    fetches.failed(connection, fetch_id, error)


def reason_of(error: PipelineError) -> GapReason:
    """Whether the exchange was down, or this one request failed. A 500 on candles may mean an unknown coin."""
    is_down = isinstance(error, ExchangeUnavailable) and not isinstance(error, Ambiguous)
    return GapReason.EXCHANGE_DOWN if is_down else GapReason.FAILED


def land_expiry(connection: Connection, series_id: int, now_ms: int) -> LedgerChange:
    """Enter as lost what the exchange has forgotten, and raise the series' alert with it."""
    before = series.lock(connection, series_id)
    change = expire(before, now_ms)
    series.write(connection, before, change, None)
    failures.after_change(connection, before, change, now_ms)
    if change.lost:
        in_all = coverage.lost_slots(connection, series_id)
        alerts.raise_alert(connection, slots_lost(before.key, change.lost, in_all), now_ms)
    return change


def resolve_losses(connection: Connection, now_ms: int) -> int:
    """Close the alerts of series that lost nothing more for a day; returns how many."""
    return alerts.resolve_quiet(connection, "slots_lost", LOSS_QUIET_MS, now_ms)


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
