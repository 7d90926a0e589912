"""A back-fill: the fill of chosen series and months, on the weight that the other lanes leave, to its end.

A fill gives up when a request waits too long for its weight; the live edge is
then asked for by the next tick. A back-fill has no next tick, so it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from hl_pipeline.collect.fill import CandleSource, FillPolicy, FillReport, Progress, fill
from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BudgetExhausted, PipelineError
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import SeriesState
from hl_pipeline.model.span import Span, SpanSet
from hl_pipeline.storage.engine import Database

#: The lane has a floor, so that a round in which no request got its weight is rare; so many in a row, and it gives up.
IDLE_ROUNDS = 3


def backfill(
    source: CandleSource,
    database: Database,
    clock: Clock,
    policy: FillPolicy,
    *,
    coins: Collection[str],
    intervals: Collection[Interval],
    window: Span,
    run_id: str | None = None,
    on_progress: Progress | None = None,
) -> FillReport:
    """Ask for all that is unsettled in ``window`` (UTC, half-open) of these series; one report over all rounds.

    ``skipped`` requests of the report are those that never got their weight.

    Raises:
        DatabaseUnavailable: what was landed stays; run it again.
    """
    total, idle = FillReport(), 0
    began_ms, once = clock.now_ms(), _Once(source)

    def left(state: SeriesState, _: int) -> SpanSet:
        """What was due at first and no round has asked for; a slot that closes on the way is the live edge's."""
        return SpanSet.single(0, state.key.interval.floor(began_ms - policy.proof.settle_ms)) - once.asked(state.key)

    while True:
        before = total

        def advance(report: FillReport, before: FillReport = before) -> None:
            if on_progress is not None:
                on_progress(joined(before, report))

        report = fill(
            once,
            database,
            clock,
            policy,
            coins=coins,
            intervals=intervals,
            window=window,
            only=left,
            run_id=run_id,
            on_progress=advance,
        )
        total = joined(before, report)
        idle = 0 if report.landed else idle + 1
        if not report.skipped or idle >= IDLE_ROUNDS:
            return total


class _Once:
    """A source that remembers what it was asked, answered or not; a request that got no weight was not asked."""

    def __init__(self, source: CandleSource) -> None:
        self._source = source
        self._asked: dict[SeriesKey, SpanSet] = {}
        self._guard = threading.Lock()

    def asked(self, key: SeriesKey) -> SpanSet:
        """All spans of the series that were asked for."""
        with self._guard:
            return self._asked.get(key, SpanSet())

    def candles(self, request: CandleRequest, *, lane: str) -> CandleAnswer:
        """As the source's."""
        try:
            answer = self._source.candles(request, lane=lane)
        except BudgetExhausted:
            raise
        except PipelineError:
            self._note(request)
            raise
        self._note(request)
        return answer

    def _note(self, request: CandleRequest) -> None:
        span = SpanSet.single(request.start_ms, request.end_ms)
        with self._guard:
            self._asked[request.series] = self._asked.get(request.series, SpanSet()) | span


def joined(before: FillReport, now: FillReport) -> FillReport:
    """One report over two rounds: what the second left undone is what is left."""
    total = before + now
    total.planned = before.landed + len(before.failures) + now.planned
    total.skipped = now.skipped
    return total
