from __future__ import annotations

from dataclasses import replace

import pytest

from hl_pipeline.health.verdict import all_verdicts, on_endpoints
from hl_pipeline.model.endpoint import Breaker, EndpointState
from hl_pipeline_tests.health.test_verdict import VITALS

A = EndpointState("https://a/info", 0, lag_ms=20)
B = EndpointState("https://b/info", 1, lag_ms=30)
DOWN = replace(A, breaker=Breaker.OPEN, errors=5)


@pytest.mark.parametrize(
    ("states", "status", "says"),
    [
        ((), "healthy", "no endpoint was asked yet"),
        ((A,), "healthy", "1 of 1 endpoints are well"),
        ((A, B), "healthy", "2 of 2 endpoints are well"),
        ((DOWN, B), "degraded", "a: rests after 5 errors"),
        ((A, replace(B, breaker=Breaker.HALF_OPEN)), "degraded", "b: is being probed"),
        ((A, replace(B, lag_ms=60_000)), "degraded", "b: its head is 60 s behind"),
        ((A, replace(B, disagrees_since_ms=1)), "degraded", "b: its candles differ"),
        ((DOWN, replace(B, disagrees_since_ms=1)), "degraded", "0 of 2 endpoints are well"),
        ((DOWN, replace(B, lag_ms=60_000)), "unhealthy", "0 of 2 endpoints are well"),
        ((DOWN,), "unhealthy", "0 of 1 endpoints are well"),
        ((replace(A, lag_ms=10_001),), "degraded", "every endpoint's clock is 10 s or more from ours (bound 10)"),
        ((replace(A, lag_ms=-25_000), replace(B, lag_ms=-25_100)), "degraded", "25 s or more from ours"),
    ],
)
def test_endpoints_are_judged_by_who_still_serves(states: tuple[EndpointState, ...], status: str, says: str) -> None:
    found = on_endpoints(states)
    assert found.status == status
    assert says in found.sentence
    assert ("Next: " in found.sentence) == (status != "healthy")


def test_a_clock_that_is_wrong_is_a_matter_of_this_machine() -> None:
    assert "NTP" in on_endpoints([replace(A, lag_ms=30_000)]).sentence


def test_the_report_speaks_of_the_endpoints() -> None:
    found = {found.name: found for found in all_verdicts(replace(VITALS, endpoints=(DOWN,)))}
    assert found["endpoints_healthy"].status == "unhealthy"
