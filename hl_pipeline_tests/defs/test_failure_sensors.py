"""One trouble, one alert, resolved once."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest
from pydantic import SecretStr

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.sensors.failures import alert_on_failed_runs, follow_successful_runs
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.model.redact import hide
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alerts
from hl_pipeline.storage.overview import OpenAlert
from hl_pipeline_tests.fakes import FakeExchange
from hl_pipeline_tests.notify.sentry import sentry

HOLDS = {"now": False}
SAYS = {"now": "found 3, at most 0"}


@dg.asset
def thing() -> None:
    """Stands for any asset."""


@dg.asset_check(asset=thing)
def holds() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=HOLDS["now"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=SAYS["now"],
        metadata={"next step": "mend it"},
    )


def checked(instance: dg.DagsterInstance, pipeline: Pipeline, *, passes: bool) -> None:
    """A run with a check that passes or not, and the sensor that looks at it."""
    HOLDS["now"] = passes
    result = dg.materialize([thing, holds], instance=instance)
    context = dg.build_run_status_sensor_context(
        sensor_name="follow_successful_runs",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_success_event(),
        resources={"pipeline": pipeline},
    )
    follow_successful_runs(context)


def failed(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    outcome = run_job("collect", pipeline=pipeline, instance=instance)
    assert not outcome.success
    run = instance.get_run_by_id(outcome.run_id)
    assert run is not None
    (record,) = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failed_runs",
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=event,
        resources={"pipeline": pipeline},
    ).for_run_failure()
    alert_on_failed_runs(context)


def open_alerts(pipeline: Pipeline) -> list[OpenAlert]:
    with pipeline.database.connection() as connection:
        return alerts.open_alerts(connection)


def test_a_failed_check_is_one_alert_until_it_passes_again(
    pipeline: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    checked(instance, pipeline, passes=False)
    clock.advance(60_000)
    checked(instance, pipeline, passes=False)
    (alert,) = open_alerts(pipeline)
    assert (alert.rule, alert.severity, alert.times_seen) == ("check_failed", "error", 2)
    assert alert.next_step == "mend it"
    assert "found 3, at most 0" in alert.summary
    checked(instance, pipeline, passes=True)
    assert open_alerts(pipeline) == []


def test_a_failed_run_is_one_alert_until_its_job_succeeds(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    exchange: FakeExchange,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange.error = lambda _: ExchangeUnavailable("the exchange is down")
    failed(instance, pipeline)
    clock.advance(120_000)
    failed(instance, pipeline)
    (alert,) = open_alerts(pipeline)
    assert (alert.rule, alert.times_seen) == ("run_failed", 2)
    assert "collect failed: live_candles: all 6 requests failed" in alert.summary
    assert len([line for line in caplog.messages if line.startswith("alert ")]) == 1


def test_a_secret_in_an_exception_does_not_reach_the_alert(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, caplog: pytest.LogCaptureFixture
) -> None:
    secret = {
        "database_url": SecretStr("postgresql://hl:canary%40one1@127.0.0.1/hl"),
        "ui_password": SecretStr("canary-two-canary-two"),
        "alert_urls": (SecretStr("json://example.com/canary3three3"),),
    }
    keeping = replace(pipeline, settings=pipeline.settings.model_copy(update=secret))
    hide(*keeping.settings.secrets)
    said = "canary%40one1 canary@one1 canary-two-canary-two http://example.com/canary3three3"
    exchange.error = lambda _: ExchangeUnavailable(said)
    failed(instance, keeping)
    (alert,) = open_alerts(pipeline)
    assert "all 6 requests failed" in alert.summary
    assert "*** *** *** http://example.com/***" in alert.summary
    alerts_said = [line for line in caplog.messages if line.startswith("alert ")]
    assert alerts_said
    assert "canary" not in alert.summary + "".join(alerts_said)


def test_a_secret_in_what_a_check_found_does_not_reach_its_alert(
    pipeline: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide("canary-of-a-check")
    monkeypatch.setitem(SAYS, "now", "found canary-of-a-check, password=four; at most 0")
    checked(instance, pipeline, passes=False)
    (alert,) = open_alerts(pipeline)
    assert "found ***, password=***; at most 0" in alert.summary


def test_a_failed_run_is_one_event_of_the_kind_that_failed_it(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange
) -> None:
    exchange.error = lambda _: ExchangeUnavailable("the exchange at http://u:pa55@h is down")
    with sentry() as server:
        settings = pipeline.settings.model_copy(update={"sentry_dsn": SecretStr(server.dsn)})
        failed(instance, replace(pipeline, settings=settings))
    (event,) = server.events
    assert server.others == []
    assert (event["level"], event["transaction"]) == ("error", "collect")
    assert event["fingerprint"] == ["collect", "Failure"]
    assert event["tags"]["lane"] == "live"
    outer = event["exception"]["values"][-1]
    assert "all 6 requests failed" in outer["value"]
    assert any(frame["function"] == "live_candles" for frame in outer["stacktrace"]["frames"])
    assert b"pa55" not in server.raw[0]


def test_a_failure_that_is_looked_at_after_the_next_success_leaves_no_alert(
    pipeline: Pipeline, instance: dg.DagsterInstance, exchange: FakeExchange, clock: ManualClock
) -> None:
    exchange.error = lambda _: ExchangeUnavailable("the exchange is down")
    before = run_job("collect", pipeline=pipeline, instance=instance)
    exchange.error = lambda _: None
    after = run_job("collect", pipeline=pipeline, instance=instance)
    assert (before.success, after.success) == (False, True)
    look(instance, pipeline, after.run_id)
    look(instance, pipeline, before.run_id)
    assert "run_failed" not in {alert.rule for alert in open_alerts(pipeline)}
    exchange.error = lambda _: ExchangeUnavailable("the exchange is down")
    clock.advance(120_000)
    failed(instance, pipeline)
    assert "run_failed" in {alert.rule for alert in open_alerts(pipeline)}


def look(instance: dg.DagsterInstance, pipeline: Pipeline, run_id: str) -> None:
    """What the sensor of its outcome makes of a run."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    kind = dg.DagsterEventType.RUN_SUCCESS if run.is_success else dg.DagsterEventType.RUN_FAILURE
    (record,) = instance.get_records_for_run(run_id, of_type=kind).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="sensor", dagster_instance=instance, dagster_run=run, dagster_event=event,
        resources={"pipeline": pipeline},
    )  # fmt: skip
    if run.is_success:
        follow_successful_runs(context)
    else:
        alert_on_failed_runs(context.for_run_failure())
