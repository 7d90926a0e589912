"""Older gaps start a drain, one at a time, and not into an outage."""

from __future__ import annotations

import dagster as dg
import pytest

from hl_pipeline.defs.launch import RunOutcome, run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.defs.sensors.gaps import drain_open_gaps
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange

HOUR = 3_600_000
#: 240 slots of 15 minutes are sixty hours; longer ago is behind the live edge.
LONG = 70 * HOUR
EIGHT = 1_768_032_000_000  # 2026-01-10T08:00:00Z


def look(pipeline: Pipeline, instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """The run it asks for, or why it asks for none."""
    found = drain_open_gaps(dg.build_sensor_context(instance=instance, resources={"pipeline": pipeline}))
    if isinstance(found, dg.SkipReason):
        return found.skip_message or ""
    assert isinstance(found, dg.RunRequest)
    return found


def collect(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    assert run_job("collect", pipeline=pipeline, instance=instance).success


def test_when_all_is_settled_it_says_that_nothing_is_due(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    collect(pipeline, instance)
    found = look(pipeline, instance)
    assert found == "nothing behind the live edge is due; open in all: no gap is open"


def test_after_a_long_silence_it_starts_a_drain_that_says_how_much_and_how_urgent(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    collect(pipeline, instance)
    clock.advance(LONG)
    collect(pipeline, instance)
    found = look(pipeline, instance)
    assert isinstance(found, dg.RunRequest)
    assert (
        found.tags["hl/gap_slots"] == "52"
    )  # two markets: 280 quarters of an hour less the tick's 239 and its margin of 15
    assert found.tags["hl/gap_requests"] == "2"
    assert found.tags["hl/nearest_deadline"].startswith("recoverable for 49 d")
    assert found.tags["hl/reason"]
    assert found.tags["hl/markets"] == "BTC, ETH"


def test_the_drain_it_starts_empties_the_queue_and_tells_what_was_in_it(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, exchange: FakeExchange
) -> None:
    collect(pipeline, instance)
    clock.advance(LONG)
    collect(pipeline, instance)
    exchange.error = lambda request: ExchangeUnavailable("502") if request.series.coin == "ETH" else None
    outcome = run_job("drain_gaps", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    told = outcome.assets["gap_queue"]
    assert (told["gaps"], told["slots missing"], told["still due"]) == (1, 26, 0)
    assert "'reason': 'exchange down', 'slots': 26" in str(told["reasons"])
    assert str(told["nearest deadline"]).startswith("recoverable for 49 d")
    assert told["oldest slot"]
    assert "ETH 15m: 502" in told["failures"]
    exchange.error = lambda _: None
    clock.advance(60_000)
    assert isinstance(look(pipeline, instance), dg.RunRequest), "what failed is due again"
    told = run_job("drain_gaps", pipeline=pipeline, instance=instance).assets["gap_queue"]
    assert (told["gaps"], told["nearest deadline"]) == (0, "no gap is open")


def test_while_a_drain_is_under_way_it_starts_no_other(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    collect(pipeline, instance)
    clock.advance(LONG)
    job = build(pipeline=pipeline).resolve_job_def("drain_gaps")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    found = look(pipeline, instance)
    assert found == f"drain {run.run_id[:8]} is still started: one at a time"


def test_into_an_outage_no_drain_is_started_until_somebody_was_answered(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, exchange: FakeExchange
) -> None:
    collect(pipeline, instance)
    exchange.error = lambda _: ExchangeUnavailable("connection refused")
    for _ in range(2):
        clock.advance(LONG // 2)
        run_job("collect", pipeline=pipeline, instance=instance)
    found = look(pipeline, instance)
    assert isinstance(found, str)
    assert "the last 8 requests got no answer (connection refused)" in found
    exchange.error = lambda _: None
    clock.advance(60_000)
    collect(pipeline, instance)
    assert isinstance(look(pipeline, instance), dg.RunRequest)


def drained(pipeline: Pipeline, instance: dg.DagsterInstance, **config: object) -> RunOutcome:
    wanted = {"ops": {"gap_queue": {"config": config}}}
    return run_job("drain_gaps", pipeline=pipeline, instance=instance, run_config=wanted)


def test_a_drain_can_read_a_window_again_settled_slots_and_all(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    collect(pipeline, instance)
    exchange.requests.clear()
    key = SeriesKey("BTC", Interval.H1)
    told = exchange.truth(key, EIGHT)._replace(volume="77")
    exchange.changed[key, EIGHT] = told
    outcome = drained(pipeline, instance, coin="BTC", start="2026-01-10T08:00", end="2026-01-10T09:00:00Z")
    assert outcome.success, outcome.failure
    assert outcome.assets["gap_queue"]["revisions"] == 1
    assert {request.series.coin for request in exchange.requests} == {"BTC"}
    assert {request.series.interval for request in exchange.requests} == {Interval.M15, Interval.H1}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"coin": "BTC"}, "coin, start and end go together"),
        ({"coin": "BTC", "start": "2026-01-10", "end": "2026-01-10"}, "nothing would be read"),
        ({"coin": "BTC", "start": "yesterday", "end": "2026-01-10"}, "start = 'yesterday' is not an instant"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_with_the_reason(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, config: dict[str, object], said: str
) -> None:
    collect(pipeline, instance)
    exchange.requests.clear()
    outcome = drained(pipeline, instance, **config)
    assert not outcome.success
    assert said in (outcome.failure or "")
    assert exchange.requests == []
