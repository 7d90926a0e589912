"""Look after the endpoints: ask each for its clock every half minute, and hold their candles against each other.

Whoever lives long calls this as often as it likes: what is due is claimed in the database, so that several processes
together probe no more often than one. A probe asks every endpoint the same small thing, so its time is what they are
ranked by. It is also what closes a breaker while nobody else dares to ask.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.endpoint import Breaker, Difference, EndpointState, Sighting, comparable, differences, failure_of
from hl_pipeline.model.failure import BudgetExhausted, DatabaseUnavailable, PipelineError
from hl_pipeline.model.interval import MINUTE_MS, Interval
from hl_pipeline.notify.alerts import DISAGREEMENT_QUIET_MS, endpoints_disagree
from hl_pipeline.storage import alerts
from hl_pipeline.storage.endpoints import Compared, PostgresEndpoints, keep_disagreement, sample_coin
from hl_pipeline.storage.engine import Connection, Database

_LOG = logging.getLogger(__name__)
PROBE_EVERY_MS = 30_000
COMPARE_EVERY_MS = 600_000
#: Compared are this many minutes, the newest of them closed for at least one.
COMPARED_SLOTS = 5


class ProbedSource(Protocol):
    """Whatever can be asked at each of several endpoints, once."""

    def sight(self, endpoint: str, *, lane: str = "live") -> Sighting:
        """The endpoint's clock."""
        ...

    def candles_of(self, endpoint: str, request: CandleRequest, *, lane: str = "live") -> CandleAnswer:
        """The endpoint's candles."""
        ...


@dataclass(slots=True)
class ProbeReport:
    """What one look found: errors by endpoint, how many were compared, and on how many slots each differs."""

    sighted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    differing: dict[str, int] = field(default_factory=dict)


def probe_endpoints(
    source: ProbedSource,
    database: Database,
    clock: Clock,
    endpoints: PostgresEndpoints,
    *,
    every_ms: int = PROBE_EVERY_MS,
    compare_every_ms: int = COMPARE_EVERY_MS,
) -> ProbeReport:
    """Probe every endpoint that nobody probed in ``every_ms``, or whose rest is over; compare their candles if due.

    What an endpoint does wrong is kept in its state and in the report, not raised. Weight: 2 an endpoint, 21 each
    when they are compared; without weight nothing is asked.

    Raises:
        DatabaseUnavailable: nothing can be kept.
    """
    report = ProbeReport()
    due = [state for state in endpoints.view().states if _is_mine(endpoints, state, every_ms)]
    if due:
        with ThreadPoolExecutor(len(due), "probe") as pool:
            for state, error in zip(due, pool.map(lambda one: _probe(source, clock, endpoints, one), due), strict=True):
                if error is None:
                    report.sighted.append(state.url)
                else:
                    report.failed[state.url] = error
        _forget(database, clock)
    _compare(source, database, clock, endpoints, compare_every_ms, report)
    return report


def _forget(database: Database, clock: Clock) -> None:
    """Ends the disagreements of who is asked no more; also where one endpoint is left, and nothing is compared."""
    with database.connection() as connection:
        alerts.resolve_quiet(connection, "endpoints_disagree", DISAGREEMENT_QUIET_MS, clock.now_ms())


def _is_mine(endpoints: PostgresEndpoints, state: EndpointState, every_ms: int) -> bool:
    if state.breaker is Breaker.CLOSED:
        return endpoints.claim_probe(state.url, every_ms)
    return endpoints.admit(state.url)


def _probe(source: ProbedSource, clock: Clock, endpoints: PostgresEndpoints, state: EndpointState) -> str | None:
    """Ask for the clock, one that was resting until its breaker is closed; the error, if it failed."""
    url = state.url
    try:
        while True:
            seen = source.sight(url)
            lag_ms = clock.now_ms() - round(seen.latency_ms / 2) - seen.time_ms
            breaker = endpoints.sighted(url, seen.latency_ms, lag_ms)
            if breaker is not Breaker.HALF_OPEN or not endpoints.admit(url):
                return None
    except BudgetExhausted as error:
        endpoints.release(url)
        return str(error)
    except DatabaseUnavailable:
        raise
    except PipelineError as error:
        _LOG.info("probe failed: %s", error)
        endpoints.failed(url, failure_of(error), str(error), is_health_probe=True)
        return str(error)


def _compare(
    source: ProbedSource,
    database: Database,
    clock: Clock,
    endpoints: PostgresEndpoints,
    every_ms: int,
    report: ProbeReport,
) -> None:
    """Hold the newest closed minutes of the most traded market against those of the highest priority."""
    urls = [state.url for state in comparable(endpoints.view().states)]
    if len(urls) < 2:
        return
    with database.connection() as connection:
        coin = sample_coin(connection)
    if coin is None or not endpoints.claim_comparison(urls[0], every_ms):
        return
    key, now_ms = SeriesKey(coin, Interval.M1), clock.now_ms()
    end_ms = Interval.M1.floor(now_ms - MINUTE_MS)
    request = CandleRequest(key, end_ms - COMPARED_SLOTS * MINUTE_MS, end_ms)
    answers = _answers(source, endpoints, urls, request, report)
    if len(answers) < 2:
        return
    with database.connection() as connection:
        _keep(connection, endpoints, key, answers, now_ms, report)


def _answers(
    source: ProbedSource,
    endpoints: PostgresEndpoints,
    urls: Sequence[str],
    request: CandleRequest,
    report: ProbeReport,
) -> dict[str, Sequence[Candle]]:
    """What each endpoint says, in the order of ``urls``; who does not answer is left out."""
    answers: dict[str, Sequence[Candle]] = {}
    for url in urls:
        try:
            answers[url] = source.candles_of(url, request).candles
        except DatabaseUnavailable:
            raise
        except BudgetExhausted as error:
            report.failed[url] = str(error)
        except PipelineError as error:
            report.failed[url] = str(error)
            endpoints.failed(url, failure_of(error), str(error))
    return answers


def _keep(
    connection: Connection,
    endpoints: PostgresEndpoints,
    key: SeriesKey,
    answers: Mapping[str, Sequence[Candle]],
    now_ms: int,
    report: ProbeReport,
) -> None:
    """Enter who is behind and who differs, and tell of it; the first of the answers wins."""
    primary = next(iter(answers))
    newest = {url: candles[-1].open_ms if candles else None for url, candles in answers.items()}
    head_ms = max((at for at in newest.values() if at is not None), default=now_ms)
    found: list[Compared] = []
    for url, candles in answers.items():
        differ = [] if url == primary else differences(answers[primary], candles)
        at = newest[url]
        found.append(Compared(url, COMPARED_SLOTS * MINUTE_MS if at is None else head_ms - at, bool(differ)))
        _tell(connection, primary, url, key, differ, now_ms)
        if differ:
            report.differing[url] = len(differ)
    endpoints.compared(connection, found)
    report.compared = list(answers)


def _tell(
    connection: Connection, primary: str, other: str, key: SeriesKey, differ: Sequence[Difference], now_ms: int
) -> None:
    alert = endpoints_disagree(primary, other, key, differ)
    if differ:
        keep_disagreement(connection, primary, other, key, differ, now_ms)
        alerts.raise_alert(connection, alert, now_ms)
    else:
        alerts.resolve(connection, alert.fingerprint, now_ms)
