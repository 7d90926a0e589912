"""The ways to the exchange: who serves, who rests, and why."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Sequence

import dagster as dg

from hl_pipeline.collect.probe import probe_endpoints
from hl_pipeline.defs.describe import HEALTH, KINDS, OWNERS, answers, columns, instant, said_plainly, table
from hl_pipeline.model.endpoint import EndpointState, why_unhealthy
from hl_pipeline.runtime import Pipeline

#: `hl stream` probes every half minute; only where nobody did for longer is it done here.
UNWATCHED_MS = 55_000

ENDPOINT_COLUMNS = {
    "url": ("text", "where it is asked, as in hl.fetch.endpoint"),
    "priority": ("smallint", "0 is the primary; null: not in HL_ENDPOINTS any more"),
    "state": ("text", "closed: asked; open: rests until next_probe_at; half_open: one request at a time tries it"),
    "errors": ("integer", "failures in a row"),
    "reopens": ("integer", "how often it failed again soon after it was well; it then rests twice as long"),
    "latency_ms": ("real", "smoothed time of a probe"),
    "lag_ms": ("bigint", "our clock less its clock at the last probe"),
    "candle_lag_ms": ("bigint", "how far its newest candle was behind the others' when they were last compared"),
    "disagrees_since": ("timestamptz", "since when its candles differ from the primary's (hl.endpoint_disagreement)"),
    "last_error": ("text", "what it last failed of"),
}


@dg.asset(
    group_name=HEALTH,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    metadata={"dagster/column_schema": columns(ENDPOINT_COLUMNS), "dagster/table_name": "hl.endpoint"},
)
def endpoint_health(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """How each endpoint of `HL_ENDPOINTS` stands (`hl.endpoint`): its breaker, latency, lag and last error.

    Looked at every minute. An endpoint that nobody probed for a minute is asked for its clock, weight 2; several have
    their newest candles compared every ten minutes. Load goes to the fastest that is well. One that fails five times
    in a row rests for half a minute, then one request tries it. When none serves, the check `endpoints_healthy` is an
    error: is the exchange down, or the way to it?
    """
    with said_plainly():
        report = probe_endpoints(
            pipeline.source, pipeline.database, pipeline.clock, pipeline.endpoints, every_ms=UNWATCHED_MS
        )
        states = pipeline.endpoints.view().states
    fastest = min((state.latency_ms for state in states if state.latency_ms is not None), default=None)
    return dg.MaterializeResult(
        metadata={
            **_answered(states),
            "endpoints": table([_line(state, states) for state in states]),
            "probed now": len(report.sighted) + len(report.failed),
            "slots that differ": sum(report.differing.values()),
            **({} if fastest is None else {"latency of the fastest, ms": round(fastest, 1)}),
            "last probe": instant(max((state.probed_ms for state in states if state.probed_ms), default=None)),
        }
    )


def _answered(states: Sequence[EndpointState]) -> dict[str, str]:
    ill = [state.host for state in states if why_unhealthy(state, states)]
    return answers(
        whole=f"{len(states) - len(ill)} of {len(states)} endpoints are well",
        step=f"read the last error of {', '.join(ill)} below; who is well takes the load meanwhile"
        if ill
        else "nothing",
    )


def _line(state: EndpointState, states: Sequence[EndpointState]) -> dict[str, str | int]:
    return {
        "priority": state.priority,
        "endpoint": state.host,
        "state": str(state.breaker),
        "well": why_unhealthy(state, states) or ("yes, but it fails often" if state.is_unsteady else "yes"),
        "latency, ms": "-" if state.latency_ms is None else f"{state.latency_ms:.0f}",
        "behind our clock, ms": "-" if state.lag_ms is None else str(state.lag_ms),
        "errors in a row": state.errors,
        "last error": (state.last_error or "-")[:200],
    }
