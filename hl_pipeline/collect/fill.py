"""Fill the ledger: plan -> fetch -> land -> prove, for the live edge, a gap or a back-fill alike.

Requests run on a few threads; each draws its provenance row, asks, and lands
its answer in one transaction. A request that fails leaves its slots a gap and
never holds up the others. Killed anywhere, running again ends in the same
tables: what was not committed is planned again.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields
from typing import Protocol

from hl_pipeline.collect.land import Landing, land_answer, land_expiry, land_failure, needs_expiry, resolve_losses
from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BudgetExhausted, DatabaseUnavailable, PipelineError, Superseded
from hl_pipeline.model.halt import Halt, Halted
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import ProofPolicy, SeriesState
from hl_pipeline.model.plan import PlannedRequest, SlotsOf, answers_first, plan
from hl_pipeline.model.span import Span
from hl_pipeline.storage import candles, fetches, leases, series
from hl_pipeline.storage.candles import Partitions
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.leases import Lease

_LOG = logging.getLogger(__name__)
#: So many new candles change what the planner must know; waiting for autovacuum made the next queries take 17 s.
ANALYZE_AFTER_ROWS = 10_000


class CandleSource(Protocol):
    """Whatever can be asked for candles: the exchange, or a test's list of them."""

    def candles(self, request: CandleRequest, *, lane: str) -> CandleAnswer:
        """The candles of one request, or a TryAgain / NeedsAPerson error."""
        ...


@dataclass(frozen=True, slots=True)
class FillPolicy:
    """How to fill: when a read is trusted, how many requests at once, on whose weight, and until who says stop.

    ``halt`` should be the source's, too: then its waits end as well.
    """

    proof: ProofPolicy = field(default_factory=ProofPolicy)
    concurrency: int = 4
    lane: str = "live"
    halt: Halt = field(default_factory=Halt, compare=False, repr=False)


@dataclass(slots=True)
class FillReport:
    """What one fill did. Slots count candles' places; weight is what the exchange was asked to spend.

    ``derived`` slots were settled by their 1m candles, without a request of their own. ``superseded`` answers were
    refused, because a later run has taken the work over.
    """

    planned: int = 0
    landed: int = 0
    skipped: int = 0
    weight: int = 0
    received: int = 0
    rejected: int = 0
    inserted: int = 0
    updated: int = 0
    revised: int = 0
    settled_final: int = 0
    settled_empty: int = 0
    derived: int = 0
    lost: int = 0
    superseded: int = 0
    failures: list[str] = field(default_factory=list)
    coins_failed: set[str] = field(default_factory=set)

    @property
    def finished(self) -> int:
        """Requests whose fate is known: landed, failed or skipped."""
        return self.landed + len(self.failures) + self.skipped

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left over."""
        return not self.failures and not self.skipped

    def add(self, answer: CandleAnswer, landing: Landing) -> None:
        """Count one landed answer."""
        self.landed += 1
        self.weight += answer.receipt.weight
        self.received += len(answer.candles) + len(answer.rejected) + answer.outside
        self.rejected += len(answer.rejected)
        self.inserted += landing.rows.inserted
        self.updated += landing.rows.updated
        self.revised += landing.rows.revised
        step = answer.request.series.interval.milliseconds
        self.settled_final += landing.change.final.slots(step)
        self.settled_empty += landing.change.empty.slots(step)
        self.derived += landing.derived

    def __add__(self, other: FillReport) -> FillReport:
        """Both as one: counts and failures added, coins joined."""
        summed = FillReport()
        for part in fields(FillReport):
            one, two = getattr(self, part.name), getattr(other, part.name)
            setattr(summed, part.name, one | two if isinstance(one, set) else one + two)
        return summed


Progress = Callable[[FillReport], None]
#: Puts planned requests in the order in which they are sent, and may leave some for another time.
Choice = Callable[[Sequence[PlannedRequest]], Sequence[PlannedRequest]]


def fill(
    source: CandleSource,
    database: Database,
    clock: Clock,
    policy: FillPolicy | None = None,
    *,
    coins: Collection[str] | None = None,
    intervals: Collection[Interval] | None = None,
    window: Span | None = None,
    again: bool = False,
    only: SlotsOf | None = None,
    choose: Choice = list,
    run_id: str | None = None,
    on_progress: Progress | None = None,
) -> FillReport:
    """Ask for every due slot of the tracked series (or of the named ones) and store what comes.

    ``window`` asks for everything unsettled in that span, whatever its next try,
    with ``again`` for what is settled there, too;
    ``only`` leaves the slots aside that are somebody else's affair, ``choose``
    the requests that are for another time.

    Raises:
        DatabaseUnavailable: what was landed stays; run it again.
        Halted: the policy's halt is wanted; what was landed stays, what was under way has landed or failed.
        ValueError: ``again`` without a window would read everything there is.
    """
    if again and window is None:
        raise ValueError("to read settled slots again, name the window: everything would be read otherwise")
    policy = policy or FillPolicy()
    now_ms = clock.now_ms()

    def load() -> list[SeriesState]:
        with database.connection() as connection:
            return series.load(connection, coins=coins, intervals=intervals)

    states = load()
    report = FillReport()
    if _expire(database, states, now_ms, report):
        states = load()
    filler = _Filler(source, database, clock, policy, run_id, report, on_progress)
    first = answers_first(states, window=window)
    filler.run(choose(plan(first, now_ms, policy.proof, window=window, again=again, only=only)))
    others = {state.series_id for state in states} - {state.series_id for state in first}
    if plan((state for state in states if state.series_id in others), now_ms, policy.proof, only=only):
        remaining = (state for state in load() if state.series_id in others)
        filler.run(choose(plan(remaining, now_ms, policy.proof, only=only)))
    if report.inserted >= ANALYZE_AFTER_ROWS:
        with database.autocommit() as connection:
            candles.analyze(connection)
    return report


def _expire(database: Database, states: Sequence[SeriesState], now_ms: int, report: FillReport) -> bool:
    """Enter as lost what has passed its deadline; true when anything changed."""
    late = [
        state
        for state in states
        if needs_expiry(
            state.known_until_ms if state.ended_ms is None else max(state.known_until_ms, now_ms),
            min((gap.span.start_ms for gap in state.gaps), default=None),
            state.key.interval,
            now_ms,
        )
    ]
    for state in late:
        with database.connection() as connection:
            change = land_expiry(connection, state.series_id, now_ms)
        report.lost += change.lost.slots(state.step_ms)
    with database.connection() as connection:
        resolve_losses(connection, now_ms)
        fetches.close_abandoned(connection)
    return bool(late)


@dataclass(slots=True)
class _Filler:
    """One fill under way: shares the report between its threads."""

    source: CandleSource
    database: Database
    clock: Clock
    policy: FillPolicy
    run_id: str | None
    report: FillReport
    on_progress: Progress | None
    _lease: Lease = field(init=False)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _partitions: Partitions = field(init=False)
    _work: list[tuple[int, Span]] = field(default_factory=list)
    _claimed_at: float = 0.0

    def __post_init__(self) -> None:
        self._partitions = Partitions(self.database)
        who = f"run {self.run_id}" if self.run_id else f"process {os.getpid()}"
        self._lease = Lease(f"{who}, {secrets.token_hex(4)}", self.policy.lane)

    def run(self, requests: Sequence[PlannedRequest]) -> None:
        """Work the requests off in their order; the first fatal error or wish to stop ends the rest and is raised."""
        if not requests or self._stop.is_set():
            return
        self.policy.halt.check()
        self.report.planned += len(requests)
        self._work = [(planned.series_id, planned.request.span) for planned in requests]
        with self.database.connection() as connection:
            leases.claim(connection, self._lease, self._work)
        self._claimed_at = time.monotonic()
        try:
            self._work_off(requests)
        finally:
            self._release()
        self.policy.halt.check()

    def _work_off(self, requests: Sequence[PlannedRequest]) -> None:
        with ThreadPoolExecutor(min(self.policy.concurrency, len(requests)), "fill") as pool:
            futures = [pool.submit(self._one, request) for request in requests]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                # an interrupt: let the requests under way land, begin no new one, and wait for nothing
                self.policy.halt.request()
                self._cancel(futures)
                raise
            self._raise_first(done, futures)

    def _release(self) -> None:
        """Give the lease back, also on the way out with an error; without a database it runs out by itself."""
        try:
            with self.database.connection() as connection:
                leases.release(connection, self._lease, self._work)
        except DatabaseUnavailable as error:
            _LOG.warning("the lease of %s is left to run out: %s", self._lease.holder, error)

    def _renew(self) -> None:
        """Say that we still work, once in a while."""
        with self._guard:
            if time.monotonic() - self._claimed_at < leases.LENGTH_SECONDS / 3:
                return
            self._claimed_at = time.monotonic()
        with self.database.connection() as connection:
            leases.renew(connection, self._lease, self._work)

    def _raise_first(self, done: Collection[Future[None]], futures: Sequence[Future[None]]) -> None:
        for future in done:
            error = future.exception()
            if error is None:
                continue
            self._cancel(futures)
            if self.policy.halt.wanted:  # what fails in the haste is no news: its slots are as due as before
                raise Halted(f"the process was told to stop; meanwhile: {error}") from error
            raise error

    def _cancel(self, futures: Sequence[Future[None]]) -> None:
        self._stop.set()
        for future in futures:
            future.cancel()

    def _one(self, planned: PlannedRequest) -> None:
        if self._stop.is_set() or self.policy.halt.wanted or self._is_lost(planned):
            return
        self._renew()
        asked_ms = self.clock.now_ms()
        request = planned.at(asked_ms)
        with self.database.autocommit() as connection:
            fetch_id = fetches.asked(
                connection, "candleSnapshot", asked_ms, request=request, lane=self.policy.lane, run_id=self.run_id
            )
        try:
            answer = self.source.candles(request, lane=self.policy.lane)
        except DatabaseUnavailable:
            raise
        except Halted as halted:
            with self.database.autocommit() as connection:  # no failure: the slots are as due as before
                fetches.failed(connection, fetch_id, halted)
            raise
        except PipelineError as error:
            self._failed(planned, fetch_id, asked_ms, error)
            return
        if answer.candles:
            self._partitions.ensure(answer.candles[0].open_ms, answer.candles[-1].open_ms)
        try:
            with self.database.connection() as connection:
                leases.hold(connection, self._lease, planned.series_id, request.span)
                landing = land_answer(connection, planned.series_id, fetch_id, answer, asked_ms, self.policy.proof)
        except Superseded as error:
            self._superseded(fetch_id, error)
            return
        with self._guard:
            self.report.add(answer, landing)
            self._progress()

    def _is_lost(self, planned: PlannedRequest) -> bool:
        """Whether the work is another's by now; asked only once one answer was refused, to spend no weight in vain."""
        if not self.report.superseded:
            return False
        try:
            with self.database.connection() as connection:
                leases.hold(connection, self._lease, planned.series_id, planned.request.span)
        except Superseded:
            with self._guard:
                self.report.superseded += 1
            return True
        return False

    def _superseded(self, fetch_id: int, error: Superseded) -> None:
        """Somebody else works on this series' month now; what else was planned here may still be ours alone."""
        with self.database.autocommit() as connection:
            fetches.failed(connection, fetch_id, error)
        with self._guard:
            self.report.superseded += 1
            self._progress()

    def _failed(self, planned: PlannedRequest, fetch_id: int, asked_ms: int, error: PipelineError) -> None:
        """Keep the failure where the next plan and the people see it, and go on with the others."""
        request = planned.request
        exhausted = isinstance(error, BudgetExhausted)
        try:
            with self.database.connection() as connection:
                if exhausted:  # nothing was sent: the slots are as due as before
                    fetches.failed(connection, fetch_id, error)
                else:
                    leases.hold(connection, self._lease, planned.series_id, request.span)
                    land_failure(
                        connection, planned.series_id, fetch_id, request.span, asked_ms, error, self.policy.proof
                    )
        except Superseded as superseded:
            self._superseded(fetch_id, superseded)
            return
        with self._guard:
            if exhausted:
                self.report.skipped += 1
                self._stop.set()
            else:
                coin, interval = request.series
                self.report.failures.append(f"{coin} {interval}: {error}")
                self.report.coins_failed.add(coin)
            self._progress()

    def _progress(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.report)
