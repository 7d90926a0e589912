"""Whether every endpoint answers, and how far this machine's clock is from its."""

from __future__ import annotations

from hl_pipeline.cli.doctor.finding import Finding, fail, ok, warn
from hl_pipeline.model.budget import Reservation
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.settings import Settings
from hl_pipeline.source.rest import HyperliquidRest

#: Beyond the first a candle may be read before it has settled; beyond the second nothing we compute is of use.
SKEW_WARN_MS, SKEW_FAIL_MS = 2_000, 30_000
_NEXT = {"sandbox": "start it: hl sandbox"}


class _Unbooked:
    """One request of weight 2 an endpoint; booking it would be a write."""

    def reserve(self, weight: int, *, lane: str) -> Reservation:  # noqa: ARG002  # the protocol's
        return Reservation(0, weight, 0)

    def settle(self, reservation: Reservation, weight: int) -> None:
        """Nothing was set aside."""

    def withdraw(self) -> None:
        """Nobody waits."""


def on_exchange(settings: Settings) -> list[Finding]:
    """A line for each endpoint, and one for the clock."""
    clock = SystemClock(settings.clock_offset_ms)
    found, skews = [], []
    with HyperliquidRest(
        settings.endpoints,
        budget=_Unbooked(),
        public_only=settings.venue != "sandbox",
        deadline_s=min(settings.request_deadline_seconds, 5.0),
    ) as source:
        for url in source.endpoints:
            try:
                before_ms = clock.now_ms()
                sight = source.sight(url)
                after_ms = clock.now_ms()
            except PipelineError as error:
                step = _NEXT.get(settings.venue, "is there a way out from this machine? `make demo` needs none")
                found.append(fail("exchange", f"{url} does not answer: {error}", step))
                continue
            found.append(ok("exchange", f"{url} answered in {sight.latency_ms:.0f} ms"))
            skews.append((before_ms + after_ms) // 2 - sight.time_ms)
    return [*found, *([on_clock(min(skews, key=abs))] if skews else [])]


def on_clock(skew_ms: int) -> Finding:
    """This machine's clock is the exchange's. ``skew_ms`` is ours less the exchange's, of the nearest endpoint."""
    text = (
        f"this machine's clock is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} the exchange's"
    )
    step = "set it by NTP (timedatectl set-ntp true)"
    if abs(skew_ms) > SKEW_FAIL_MS:
        return fail("clock", text, step)
    return warn("clock", text, step) if abs(skew_ms) > SKEW_WARN_MS else ok("clock", text)
