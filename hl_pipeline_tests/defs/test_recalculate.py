"""The job that scores everything again from what is stored."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.listing import build
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import confidence
from hl_pipeline_tests.fakes import FakeExchange

HOUR_MS = 3_600_000


def test_scores_are_made_again_without_a_request_and_the_old_ones_are_kept(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    definitions = build(pipeline=pipeline)
    assert definitions.resolve_job_def("collect").execute_in_process(instance=instance).success
    asked, before_ms = len(exchange.requests), clock.now_ms()
    with pipeline.database.connection() as connection:
        (fetches,) = connection.execute("select count(*) from hl.fetch").fetchone() or (0,)
        connection.execute("delete from hl.candle where open_time > now() - interval '100 years'")
    clock.advance(HOUR_MS)
    assert definitions.resolve_job_def("recalculate_confidence").execute_in_process(instance=instance).success
    with pipeline.database.connection() as connection:
        kept = confidence.history(connection, SeriesKey("BTC", Interval.H1))
        assert connection.execute("select count(*) from hl.fetch").fetchone() == (fetches,)
    assert len(exchange.requests) == asked
    assert [one.scored_ms for one in kept] == [before_ms, before_ms + HOUR_MS]
    assert [one.components["completeness"]["score"] for one in kept] == [1, 0]
