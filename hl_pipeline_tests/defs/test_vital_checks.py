"""The health job: a line in the log, and a verdict on everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dagster import AssetKey, DagsterInstance

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import stream
from hl_pipeline.storage.stream import ProcessState
from hl_pipeline_tests.fakes import FakeExchange


def health(pipeline: Pipeline, instance: DagsterInstance) -> tuple[RunOutcome, dict[str, CheckOutcome]]:
    outcome = run_job("health", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    return outcome, {check.name: check for check in outcome.checks}


def test_after_a_collection_every_check_passes_and_says_what_it_found(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    outcome, checks = health(pipeline, instance)
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed == {"latest_metrics/data_trusted"}, (
        "what this exchange says of an hour is not the sum of its quarters"
    )
    assert {"markets/api_answers", "live_candles/database_answers", "live_candles/fresh_15m"} <= set(checks)
    assert all(check.description for check in checks.values())
    assert outcome.assets["system_health"]["status"] == "degraded"
    assert outcome.assets["system_health"]["score"] == 100


def test_what_the_pipeline_runs_on_is_judged_by_the_same_report(pipeline: Pipeline, instance: DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    outcome, checks = health(pipeline, instance)
    assert checks["system_health/disk_has_room"].passed
    assert "before the first `hl up`" in checks["system_health/daemon_alive"].description
    assert 0 < checks["latest_metrics/data_trusted"].metadata["high_confidence_rate"] < 0.95
    assert outcome.assets["system_health"]["measured in ms"] > 0


def test_what_cannot_be_judged_fails_its_step_and_does_not_pass(pipeline: Pipeline, instance: DagsterInstance) -> None:
    with pipeline.database.connection() as connection:
        connection.execute(b"alter table hl.confidence rename to confidence_gone")
    outcome = run_job("health", pipeline=pipeline, instance=instance)
    assert not outcome.success
    assert "data_trusted" not in {check.name.partition("/")[2] for check in outcome.checks}
    with pipeline.database.connection() as connection:
        (row,) = connection.execute(b"select status from hl.system_health_log")
    assert row == ("unknown",), "the report that could not tell is kept too"


def test_a_minute_that_fell_out_is_a_gap_found_and_once_filled_one_closed(
    pipeline: Pipeline, instance: DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    with pipeline.database.connection() as connection:
        connection.execute(b"update hl.series set tracked_from = tracked_from - 6000 * step")
    clock.advance(40 * 60_000)
    outcome, _ = health(pipeline, instance)
    assert (outcome.assets["system_health"]["gaps found"], outcome.assets["system_health"]["gaps closed"]) == (2, 0)
    run_job("collect", pipeline=pipeline, instance=instance)
    outcome, _ = health(pipeline, instance)
    assert (outcome.assets["system_health"]["gaps found"], outcome.assets["system_health"]["gaps closed"]) == (0, 2)


def test_the_streams_state_is_a_check_and_an_observation_of_the_asset_it_writes(
    pipeline: Pipeline, instance: DagsterInstance, clock: ManualClock
) -> None:
    streaming = replace(pipeline, settings=pipeline.settings.model_copy(update={"stream": True}))
    run_job("collect", pipeline=streaming, instance=instance)
    _, checks = health(streaming, instance)
    assert not checks["live_candles/stream_alive"].passed
    assert "no stream ever ran here" in checks["live_candles/stream_alive"].description
    now_ms = clock.now_ms()
    state = ProcessState("process 7", 2, now_ms, now_ms, 0, 0, 9, 2, 90_000_000, None, now_ms)
    socket = {
        "socket": 0, "endpoint": "ws://e/ws", "state": "connected", "subscriptions": 5, "reconnects": 0, "frames": 9,
        "frames_last_minute": 9, "rejected": 0, "last_frame_at": to_datetime(now_ms).isoformat(),
    }  # fmt: skip
    with streaming.database.connection() as connection:
        stream.report(connection, [socket], state, now_ms)
    _, checks = health(streaming, instance)
    assert checks["live_candles/stream_alive"].passed
    (seen,) = instance.fetch_observations(AssetKey("live_candles"), limit=1).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["frames in the last minute"].value == 9


def test_old_data_fails_the_freshness_check_with_bound_and_next_step(
    pipeline: Pipeline, instance: DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    clock.advance(50 * 60_000)
    _, checks = health(pipeline, instance)
    stale = checks["live_candles/fresh_15m"]
    assert (stale.passed, stale.severity) == (False, "ERROR")
    assert "bound 1030" in stale.description
    assert "collect schedule" in str(stale.metadata["next step"])


def test_failing_requests_fail_the_exchange_check(
    pipeline: Pipeline, instance: DagsterInstance, exchange: FakeExchange
) -> None:
    exchange.error = lambda _: ExchangeUnavailable("down")
    run_job("collect", pipeline=pipeline, instance=instance)
    _, checks = health(pipeline, instance)
    assert not checks["markets/api_answers"].passed


def test_each_report_is_a_line_in_the_log(pipeline: Pipeline, instance: DagsterInstance, clock: ManualClock) -> None:
    for _ in range(2):
        health(pipeline, instance)
        clock.advance(60_000)
    with pipeline.database.connection() as connection:
        rows = connection.execute(b"select status from hl.system_health_log order by logged_at").fetchall()
    assert rows == [("degraded",), ("degraded",)], "nothing was ever collected"


def test_a_check_that_cannot_look_raises_and_does_not_pass(pipeline: Pipeline, instance: DagsterInstance) -> None:
    with pipeline.database.connection() as connection:
        connection.execute(b"alter table hl.fetch rename to fetch_gone")
    outcome = run_job("health", pipeline=pipeline, instance=instance)
    assert not outcome.success
    judged = {check.name.partition("/")[0] for check in outcome.checks}
    assert not judged & {"markets", "live_candles", "endpoint_health"}


@pytest.mark.parametrize("tamper", [False, True])
def test_the_ledger_check_finds_a_row_that_somebody_removed(
    pipeline: Pipeline, instance: DagsterInstance, tamper: bool
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    if tamper:
        with pipeline.database.connection() as connection:
            connection.execute(b"delete from hl.candle where open_time = '2026-01-08 00:00:00+00' and finality = 'f'")
    outcome = run_job("contracts", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    ledger = next(check for check in outcome.checks if check.name == "data_contracts/ledger_holds")
    assert ledger.passed is not tamper
    if tamper:
        assert "final in the ledger, but no final candle row" in ledger.description


def reconciled(pipeline: Pipeline, instance: DagsterInstance) -> dict[str, CheckOutcome]:
    outcome = run_job("contracts", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    return {
        check.name.removeprefix("data_contracts/"): check for check in outcome.checks if "/reconciles_" in check.name
    }


def test_without_minutes_reconciliation_says_that_there_is_nothing_to_compare(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    found = reconciled(pipeline, instance)
    assert sorted(found) == ["reconciles_15m", "reconciles_1d", "reconciles_1h", "reconciles_4h", "reconciles_5m"]
    assert all(check.passed and "nothing to compare" in check.description for check in found.values())


def test_candles_that_contradict_their_minutes_warn_with_both_values(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    settings = pipeline.settings.model_copy(update={"intervals": (Interval.M1, Interval.H1)})
    told = replace(pipeline, settings=settings)
    run_job("collect", pipeline=told, instance=instance)
    found = reconciled(told, instance)["reconciles_1h"]  # this exchange's hours have nothing to do with its minutes
    assert (found.passed, found.severity) == (False, "WARN")
    assert "minutes (bound 0)" in found.description
    assert found.metadata["differing"] > 0
    assert "from minutes" in str(found.metadata["mismatches"])
    assert "hl collect --again" in found.metadata["next step"]
