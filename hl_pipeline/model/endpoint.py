"""When an endpoint of the exchange may be asked, and which of several is asked first.

A breaker keeps a dead endpoint from being hammered. It opens after ``errors_to_open`` failures in a row; after a
rest, one request probes it (half open) while the others wait or go elsewhere; it closes after
``successes_to_close`` probes. One that flaps must not swing the load to and fro: when it fails again soon after it was
closed it rests twice as long each time, and who failed often of late is asked after the steady ones. Its state is in
the database: a process that is started anew, as each step is, knows what the others found out.

Storage keeps the state and moves it in single statements; the numbers and the judgement are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from hl_pipeline.model.candle import Candle
from hl_pipeline.model.failure import ExchangeUnavailable, PipelineError, RateLimited

#: Heads further apart than this are not of one exchange: settling waits ten seconds, so a staler answer may call a
#: candle closed that was still forming.
LAG_MS = 10_000
#: Newest candles further apart than this: the endpoint's clock runs on, its candles do not.
CANDLE_LAG_MS = 120_000
#: Latencies this near to the best count as equal; the priority then decides.
NEAR = 1.2
#: The exchange's volumes carry float noise.
VOLUME_TOLERANCE = Decimal("1e-9")


class Breaker(StrEnum):
    """Closed lets every request through, open none, half open one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class FailureOf(StrEnum):
    """What an endpoint failed of, as far as it matters for what a refusal is called."""

    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The breaker's numbers. A probe that nobody reports on is given up after ``lease_ms``.

    Who opens again within ``flap_ms`` of closing rests twice as long as before, at most ``longest_open_ms``.
    """

    errors_to_open: int = 5
    open_ms: int = 30_000
    successes_to_close: int = 3
    lease_ms: int = 60_000
    flap_ms: int = 600_000
    longest_open_ms: int = 480_000


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What all processes know of one endpoint. Times in ms UTC of the clock that the registry keeps.

    ``priority`` 0 is the primary. Open, it is probed at ``next_probe_ms``, or at ``last_resort_ms`` when no other
    serves; half open, somebody may be probing it until ``probe_until_ms``. ``latency_ms`` is the smoothed time of a
    probe, which asks every endpoint the same. ``lag_ms`` is our clock less its clock at the last probe;
    ``candle_lag_ms`` how far its newest candle was behind the others' at the last comparison.
    ``disagrees_since_ms`` is set while its candles differ from the primary's. ``is_unsteady`` failed often of late,
    with answers in between or not.
    """

    url: str
    priority: int = 0
    breaker: Breaker = Breaker.CLOSED
    errors: int = 0
    reopens: int = 0
    is_unsteady: bool = False
    opened_ms: int | None = None
    last_resort_ms: int | None = None
    next_probe_ms: int | None = None
    probe_until_ms: int | None = None
    probed_ms: int | None = None
    answered_ms: int | None = None
    latency_ms: float | None = None
    lag_ms: int | None = None
    candle_lag_ms: int | None = None
    disagrees_since_ms: int | None = None
    last_error: str | None = None
    failure: FailureOf | None = None

    @property
    def host(self) -> str:
        """The address without scheme and path, for people."""
        return self.url.partition("://")[2].partition("/")[0]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """The states of all endpoints at one instant, ``now_ms`` on the registry's clock."""

    now_ms: int = 0
    states: Sequence[EndpointState] = field(default_factory=tuple)


class EndpointRegistry(Protocol):
    """Whoever keeps the endpoints' states for all processes."""

    def view(self) -> EndpointView:
        """The endpoints in use, the primary first."""
        ...

    def admit(self, url: str, *, last_resort: bool = False) -> bool:
        """Take the probe of an endpoint that rests, if it is due and nobody else has it.

        As a ``last_resort`` it is due after the first rest, however often the endpoint has flapped.
        """
        ...

    def answered(self, url: str) -> None:
        """It answered: the errors in a row end, a probe counts as passed."""
        ...

    def failed(self, url: str, failure: FailureOf, error: str) -> None:
        """It failed: one more error in a row, or a probe that did not pass."""
        ...

    def release(self, url: str) -> None:
        """Give a probe back that was not made."""
        ...


def failure_of(error: PipelineError) -> FailureOf:
    """What the registry calls this error."""
    if isinstance(error, RateLimited):
        return FailureOf.RATE_LIMITED
    return FailureOf.UNREACHABLE if isinstance(error, ExchangeUnavailable) else FailureOf.BAD_ANSWER


class Sighting(NamedTuple):
    """One endpoint's own clock (ms UTC), and how long it took to say it."""

    time_ms: int
    latency_ms: float


def why_unhealthy(state: EndpointState, states: Sequence[EndpointState]) -> str | None:
    """Why no load goes to this endpoint while there are healthy ones; null when it is healthy."""
    if state.breaker is not Breaker.CLOSED:
        return f"rests after {state.errors} errors" if state.breaker is Breaker.OPEN else "is being probed"
    behind = why_stale(state, states)
    if behind is not None:
        return behind
    return None if state.disagrees_since_ms is None else "its candles differ from the primary's"


def why_stale(state: EndpointState, states: Sequence[EndpointState]) -> str | None:
    """In which way it lags behind the others; null when it does not, or when there is nobody to compare it with.

    Held against the endpoint whose clock is nearest to ours, also while that one is down: so our own clock may be
    wrong, and one that runs ahead does not make the others look late. A lone endpoint is never stale.
    """
    apart = clock_apart_ms(state, states)
    if abs(apart) > LAG_MS:
        return f"its head is {abs(apart) / 1000:.0f} s {'behind' if apart > 0 else 'ahead of'} the others'"
    if len(states) > 1 and (state.candle_lag_ms or 0) >= CANDLE_LAG_MS:
        return f"its newest candle is {(state.candle_lag_ms or 0) / 1000:.0f} s behind the others'"
    return None


def clock_apart_ms(state: EndpointState, states: Sequence[EndpointState]) -> int:
    """How far its clock is behind the one that is nearest to ours; 0 before it was probed."""
    lags = [other.lag_ms for other in states if other.lag_ms is not None]
    return 0 if state.lag_ms is None else state.lag_ms - min(lags, key=abs)


def comparable(states: Sequence[EndpointState]) -> list[EndpointState]:
    """The endpoints whose closed candles have to be the same: who is late may still have them forming."""
    return [
        state for state in states if state.breaker is Breaker.CLOSED and abs(clock_apart_ms(state, states)) <= LAG_MS
    ]


def healthy(states: Sequence[EndpointState]) -> list[EndpointState]:
    """The endpoints that may take load, in the order in which to ask: the fastest first, by priority where they tie.

    Those that failed often of late come after the steady ones. One that was never measured counts as fast. When all
    healthy ones are gone, those that differ from the primary but are in time follow, by priority: what they say wrongly
    is revised later, what nobody reads may be lost.
    """
    well = [state for state in states if why_unhealthy(state, states) is None]
    best = min((state.latency_ms for state in well if state.latency_ms is not None), default=0.0)

    def order(state: EndpointState) -> tuple[bool, float, int]:
        latency = best if state.latency_ms is None else state.latency_ms
        return (state.is_unsteady, 0.0 if latency <= NEAR * best else latency, state.priority)

    others = [
        state
        for state in states
        if state.disagrees_since_ms is not None and state.breaker is Breaker.CLOSED and why_stale(state, states) is None
    ]
    return [*sorted(well, key=order), *sorted(others, key=lambda state: state.priority)]


class Difference(NamedTuple):
    """One slot on which two endpoints do not say the same; ``None`` where one has no row."""

    open_ms: int
    primary: Candle | None
    other: Candle | None


def differences(primary: Sequence[Candle], other: Sequence[Candle]) -> list[Difference]:
    """The closed slots on which two answers to one question contradict each other, oldest first.

    A row that only one has counts when there were trades in it and the other has later ones: quiet minutes are
    published late, and an endpoint may be behind.
    """
    ours, theirs = ({candle.open_ms: candle for candle in answer} for answer in (primary, other))
    if not ours or not theirs:
        return []
    until = min(max(ours), max(theirs))
    if max(ours) != max(theirs):
        until -= 1  # where the one that is behind ends, its candle may still be forming
    slots = sorted(slot for slot in ours.keys() | theirs.keys() if slot <= until)
    pairs = (Difference(slot, ours.get(slot), theirs.get(slot)) for slot in slots)
    return [pair for pair in pairs if not _agree(pair.primary, pair.other)]


def _agree(one: Candle | None, two: Candle | None) -> bool:
    if one is None or two is None:
        return all(candle is None or candle.trades == 0 for candle in (one, two))
    return _same(one, two)


def _same(one: Candle, two: Candle) -> bool:
    prices = all(Decimal(a) == Decimal(b) for a, b in zip(one[1:5], two[1:5], strict=True))
    volume, other = Decimal(one.volume), Decimal(two.volume)
    near = abs(volume - other) <= VOLUME_TOLERANCE * max(abs(volume), abs(other))
    return prices and near and one.trades == two.trades
