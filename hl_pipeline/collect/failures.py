"""What a landing means for windows that fail: counted, laid aside as dead letters, and resolved when they are answered.

Each function follows a ``series.write`` of the same series, under its lock and
in its transaction: a crash leaves neither a failure counted twice nor a dead
letter whose slots are settled.
"""

from __future__ import annotations

from hl_pipeline.model.answer import CandleAnswer
from hl_pipeline.model.dead_letter import FailureKind, dead_slots, kind_of
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.ledger import GapReason, LedgerChange, SeriesState
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.notify.alerts import window_died
from hl_pipeline.storage import alerts, dead_letters
from hl_pipeline.storage.engine import Connection


def after_failure(
    connection: Connection, state: SeriesState, asked: Span, asked_ms: int, fetch_id: int, error: PipelineError
) -> None:
    """A request got no usable answer; ``state`` is the series after it."""
    slots = SpanSet.of(gap.span for gap in state.gaps) & SpanSet.single(*asked)
    _record(connection, state, asked, slots, kind_of(error), asked_ms, fetch_id, str(error))


def after_answer(
    connection: Connection,
    before: SeriesState,
    change: LedgerChange,
    answer: CandleAnswer,
    asked_ms: int,
    fetch_id: int,
) -> None:
    """An answer landed: it ends the failures of its slots, but for those whose rows were refused again."""
    asked = Span(answer.request.start_ms, answer.request.end_ms)
    answered = SpanSet.single(*asked)
    refused = SpanSet()
    if answer.rejected:
        refused = answered & SpanSet.of(gap.span for gap in change.state.gaps if gap.reason is GapReason.REJECTED)
    _forget(connection, before, answered, refused)
    _free_the_dead(connection, before, change, asked_ms)
    if refused:
        row = answer.rejected[0]
        text = f"{len(answer.rejected)} rows refused; the first: {row.rule}, {row.value!r}"
        _record(connection, change.state, asked, refused, FailureKind.REJECTED, asked_ms, fetch_id, text)


def after_change(connection: Connection, before: SeriesState, change: LedgerChange, now_ms: int) -> None:
    """Slots were settled without an answer of their own, or lost."""
    gone = SpanSet.of(gap.span for gap in before.gaps) - SpanSet.of(gap.span for gap in change.state.gaps)
    _forget(connection, before, gone, SpanSet())
    _free_the_dead(connection, before, change, now_ms)


def _forget(connection: Connection, before: SeriesState, answered: SpanSet, refused: SpanSet) -> None:
    """End the failures of these slots; only what was asked for before can have failed."""
    tried = SpanSet.of(gap.span for gap in before.gaps if gap.attempts) & answered
    if tried:
        dead_letters.forget_failures(connection, before.series_id, tried, refused)


def _free_the_dead(connection: Connection, before: SeriesState, change: LedgerChange, now_ms: int) -> None:
    freed = dead_slots(before) - dead_slots(change.state)
    if freed:
        dead_letters.settle(connection, before.series_id, freed, freed & change.lost, now_ms)


def _record(
    connection: Connection,
    state: SeriesState,
    asked: Span,
    slots: SpanSet,
    kind: FailureKind,
    failed_ms: int,
    fetch_id: int,
    error: str,
) -> None:
    if not slots:
        return
    coin, interval = state.key
    wire = {"coin": coin, "interval": str(interval), "startTime": asked.start_ms, "endTime": asked.end_ms - 1}
    died = dead_letters.record(
        connection,
        state.series_id,
        slots,
        kind,
        failed_ms=failed_ms,
        error=error,
        request={"type": "candleSnapshot", "req": wire},
        fetch_id=fetch_id,
    )
    for letter in died:
        alerts.raise_alert(connection, window_died(letter), failed_ms)
