"""Which endpoint the next attempt asks, by what all processes know of them.

Of the endpoints that are well the fastest is asked, by priority where they tie; an attempt that fails goes on to the
next one, inside the one retry layer, so that no request is sent more often than with a single endpoint. What failed
and what answered is told to the registry, whose breakers decide who rests.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from hl_pipeline.model.endpoint import (
    Breaker,
    EndpointRegistry,
    EndpointState,
    EndpointView,
    FailureOf,
    failure_of,
    healthy,
    why_unhealthy,
)
from hl_pipeline.model.failure import ExchangeUnavailable, PipelineError, RateLimited, TryAgain

_LOG = logging.getLogger(__name__)
#: So long may what this process knows of the breakers be out of date.
VIEW_SECONDS = 1.0
#: While somebody else probes the last endpoint, its verdict is waited for this often, and at most so long.
VERDICT_STEP_SECONDS = 0.25
VERDICT_SECONDS = 5.0
#: Nobody else has probed a resting endpoint for so long after it was due: a request does it, though others are well.
NEGLECTED_MS = 120_000


class Unwatched:
    """A registry that knows nothing and forgets all: every endpoint is always asked."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._view = EndpointView(0, tuple(EndpointState(url, number) for number, url in enumerate(urls)))

    def view(self) -> EndpointView:
        """All of them, closed."""
        return self._view

    def admit(self, url: str, *, last_resort: bool = False) -> bool:  # noqa: ARG002  # a registry's signature
        """Nothing rests here."""
        return True

    def answered(self, url: str) -> None:
        """Not kept."""

    def failed(self, url: str, failure: FailureOf, error: str) -> None:
        """Not kept."""

    def release(self, url: str) -> None:
        """Nothing was taken."""


class BeingProbed(ExchangeUnavailable):
    """All endpoints rest, and somebody is finding out right now whether that is over."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An attempt's endpoint; ``is_probe`` when it is the one request that a resting endpoint gets."""

    url: str
    is_probe: bool = False


class Route:
    """The way to the exchange over one or several endpoints; may be used by several threads."""

    def __init__(self, urls: Sequence[str], registry: EndpointRegistry | None, monotonic: Callable[[], float]) -> None:
        self.urls = tuple(urls)
        self._registry = registry or Unwatched(urls)
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._view = EndpointView()
        self._viewed_at: float | None = None

    def choose(self, tried: Collection[str] = ()) -> Turn:
        """Whom to ask now, if possible somebody not yet tried.

        Raises:
            ExchangeUnavailable: every endpoint rests (BeingProbed: one is about to be judged), or those that
                do not are behind the exchange; nothing may be sent.
            RateLimited: they all rest because they answered 429.
        """
        turn = self._turn(self._look(), tried)
        if turn is None:  # another may have taken the probe meanwhile, or closed the breaker
            view = self._look(anew=True)
            turn = self._turn(view, tried)
            if turn is None:
                raise self._refusal(view)
        return turn

    def require_open(self) -> None:
        """Refuse at once when nobody can be asked, before any weight is set aside.

        Raises:
            ExchangeUnavailable, RateLimited: as ``choose``, but not while a resting endpoint is due to be probed.
        """
        view = self._look()
        if healthy(view.states) or any(_may_be_due(state, view.now_ms) for state in view.states):
            return
        view = self._look(anew=True)
        if not healthy(view.states) and not any(_may_be_due(state, view.now_ms) for state in view.states):
            raise self._refusal(view)

    def is_open(self) -> bool:
        """Whether some endpoint is well."""
        return bool(healthy(self._look().states))

    def has_other(self, tried: Collection[str]) -> bool:
        """Whether some endpoint is well that was not tried yet."""
        return any(state.url not in tried for state in healthy(self._look().states))

    def answered(self, turn: Turn, doubted: Collection[str] = ()) -> None:
        """This endpoint answered; ``doubted`` ones had called the same question an error of ours, so it was theirs."""
        for url in doubted:
            if url != turn.url:
                self._tell(partial(self._registry.failed, url, FailureOf.UNREACHABLE, "500 to what another answered"))
        known = next((state for state in self._view.states if state.url == turn.url), None)
        if turn.is_probe or known is None or known.errors:
            self._tell(partial(self._registry.answered, turn.url))

    def failed(self, turn: Turn, error: PipelineError) -> None:
        """This endpoint failed in a way that is its own affair."""
        self._tell(partial(self._registry.failed, turn.url, failure_of(error), str(error)))

    def release(self, turn: Turn) -> None:
        """The attempt ended without telling anything about the endpoint."""
        if turn.is_probe:
            self._tell(partial(self._registry.release, turn.url))

    def _turn(self, view: EndpointView, tried: Collection[str]) -> Turn | None:
        well = [state.url for state in healthy(view.states)]
        for state in view.states:
            may_probe = _is_neglected(state, view.now_ms) if well else state.breaker is not Breaker.CLOSED
            if may_probe and self._admit(state.url, last_resort=not well):
                return Turn(state.url, is_probe=True)
        if not well:
            return None
        return Turn(next((url for url in well if url not in tried), well[0]))

    def _look(self, *, anew: bool = False) -> EndpointView:
        now = self._monotonic()
        with self._guard:
            if not anew and self._viewed_at is not None and now - self._viewed_at < VIEW_SECONDS:
                return self._view
        view = self._registry.view()
        known = {state.url: state for state in view.states}
        states = tuple(known.get(url, EndpointState(url, number)) for number, url in enumerate(self.urls))
        with self._guard:
            self._view, self._viewed_at = EndpointView(view.now_ms, states), now
            return self._view

    def _admit(self, url: str, *, last_resort: bool) -> bool:
        admitted = self._registry.admit(url, last_resort=last_resort)
        if admitted:
            self._forget_view()
        return admitted

    def _tell(self, report: Callable[[], None]) -> None:
        """Report to the registry; when that fails the answer or error at hand still counts."""
        try:
            report()
        except TryAgain as error:
            _LOG.warning("the state of an endpoint could not be kept: %s", error)
        self._forget_view()

    def _forget_view(self) -> None:
        with self._guard:
            self._viewed_at = None

    @staticmethod
    def _refusal(view: EndpointView) -> TryAgain:
        states = view.states
        why = "; ".join(f"{state.host} {why_unhealthy(state, states)}{_last_error(state)}" for state in states)
        dues = [_due_ms(state) for state in states if state.breaker is Breaker.OPEN]
        wait = max(0.0, (min(dues) - view.now_ms) / 1000) if dues else None
        if any(state.breaker is Breaker.HALF_OPEN for state in states):
            return BeingProbed(f"no endpoint serves: {why}; nothing was sent", retry_after=VERDICT_STEP_SECONDS)
        text = f"no endpoint serves: {why}; nothing was sent, {_when(wait)}"
        if all(state.failure is FailureOf.RATE_LIMITED for state in states):
            return RateLimited(text, retry_after=wait)
        return ExchangeUnavailable(text, retry_after=wait)


def _due_ms(state: EndpointState) -> int:
    """When its probe may be taken at the earliest, as it may once nobody else serves."""
    return min(state.next_probe_ms or 0, state.last_resort_ms or 0)


def _may_be_due(state: EndpointState, now_ms: int) -> bool:
    """Whether its probe may be taken, or is under way: then it is worth waiting for."""
    return state.breaker is Breaker.HALF_OPEN or (state.breaker is Breaker.OPEN and _due_ms(state) <= now_ms)


def _is_neglected(state: EndpointState, now_ms: int) -> bool:
    return state.breaker is not Breaker.CLOSED and (state.next_probe_ms or 0) + NEGLECTED_MS <= now_ms


def _last_error(state: EndpointState) -> str:
    return f" ({' '.join(state.last_error.split())[:200]})" if state.last_error else ""


def _when(wait: float | None) -> str:
    return "it is probed again each half minute" if wait is None else f"the next probe may be sent in {wait:.0f} s"
