"""The status report as an asset: written by the health job, where the web interface looks for it."""

from __future__ import annotations

import dagster as dg

from hl_pipeline.defs.assets.pipeline_report import read_page
from hl_pipeline.defs.launch import run_job
from hl_pipeline.derived.plots import SHOWN_AT_ONCE
from hl_pipeline.derived.report_html import indicators
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.status_page import REPORT_FILE
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.fakes import FakeExchange


def test_the_health_job_writes_the_page_and_says_where(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    told = run_job("health", pipeline=pipeline, instance=instance).assets["pipeline_report"]
    written = pipeline.settings.venue_home / REPORT_FILE
    assert told["path"] == str(written)
    assert told["bytes"] == written.stat().st_size
    assert told["series"] == told["series fresh and whole"] == 6
    assert next(iter(told)) == "next step"
    text = written.read_text(encoding="utf-8")
    assert "<bdi>BTC</bdi>" in text
    assert "database_answers" in text, "it holds the report that the same run has logged"
    pictures = [value for value in told.values() if str(value).startswith("![")]
    assert len(pictures) >= 2
    assert all(len(picture) < SHOWN_AT_ONCE for picture in pictures)


def test_what_needs_a_person_is_counted_and_named(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    exchange.error = lambda _: ExchangeUnavailable("down")
    clock.advance(3 * 3_600_000)
    run_job("collect", pipeline=pipeline, instance=instance)
    told = run_job("health", pipeline=pipeline, instance=instance).assets["pipeline_report"]
    assert told["checks failing"] >= 2
    assert "need you" in told["next step"]
    assert "fresh_15m" in (pipeline.settings.venue_home / REPORT_FILE).read_text(encoding="utf-8")


def test_an_old_health_report_is_not_shown_as_the_present_one(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    run_job("health", pipeline=pipeline, instance=instance)
    assert indicators(read_page(pipeline))[1].status == "healthy"
    clock.advance(6 * 60_000)
    assert indicators(read_page(pipeline))[1].status == "unknown"
