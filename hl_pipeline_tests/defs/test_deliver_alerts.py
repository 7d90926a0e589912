"""The sensor judges, tells, and goes on telling when judging fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.sensors.alerts import deliver_alerts
from hl_pipeline.model.alert import Alert, Severity
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.notify.alerts import failed_run
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alerts import raise_alert

MINUTE = 60_000


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    return tmp_path / "alerts.jsonl"


@pytest.fixture
def telling(pipeline: Pipeline, heard: Path) -> Pipeline:
    """The pipeline with a file as its channel."""
    urls = (SecretStr(f"info=file://{heard}"),)
    return replace(pipeline, settings=pipeline.settings.model_copy(update={"alert_urls": urls}))


def tick(pipeline: Pipeline, instance: dg.DagsterInstance) -> str:
    context = dg.build_sensor_context(instance=instance, resources={"pipeline": pipeline})
    said = deliver_alerts(context)
    assert isinstance(said, dg.SkipReason)
    return said.skip_message or ""


def titles(path: Path) -> list[str]:
    return [json.loads(line)["title"] for line in path.read_text().splitlines()] if path.exists() else []


def test_stalled_data_is_one_notice_and_one_when_it_flows_again(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, heard: Path
) -> None:
    with telling.database.connection() as connection:
        alert_delivery.change_rule(connection, "confidence", enabled=False)  # the fake's candles deserve little
    run_job("collect", pipeline=telling, instance=instance)
    for _ in range(3):
        clock.advance(MINUTE)
        tick(telling, instance)
    assert titles(heard) == []
    for _ in range(3 * 60):
        clock.advance(MINUTE)
        if clock.now_ms() % (10 * MINUTE) < MINUTE:
            tick(telling, instance)
    begun = titles(heard)
    assert begun[0] == "[CRITICAL] hl_pipeline: throughput"
    assert not [title for title in begun if "stale" in title], "that nobody collects says why"
    run_job("collect", pipeline=telling, instance=instance)
    for _ in range(12):
        clock.advance(MINUTE)
        tick(telling, instance)
    assert titles(heard)[len(begun) :] == ["[RESOLVED] hl_pipeline: throughput"]


def test_what_others_raised_is_told_though_judging_fails(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, heard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with telling.database.connection() as connection:
        raise_alert(connection, failed_run("collect", "01", "broke"), clock.now_ms())
    clock.advance(MINUTE)

    def break_down(_: Pipeline, **__: object) -> None:
        raise RuntimeError("the numbers cannot be read")

    monkeypatch.setattr("hl_pipeline.defs.sensors.alerts.vitals_of", break_down)
    with pytest.raises(RuntimeError, match="the numbers"):
        tick(telling, instance)
    assert titles(heard) == ["[ERROR] hl_pipeline: run_failed"]
    with telling.database.connection() as connection:
        assert alert_delivery.last_beat_ms(connection) is None, "the dead man's switch must notice"


@pytest.mark.parametrize("gone", [b"system_health_log", b"vanished_row"])
def test_rules_are_judged_though_a_table_is_missing_and_the_rules_on_it_are_left_as_they_are(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock, heard: Path, gone: bytes
) -> None:
    still_so = Alert("rows_vanished", Severity.WARNING, "a candle vanished", "look at it")
    with telling.database.connection() as connection:
        raise_alert(connection, still_so, clock.now_ms())
        connection.execute(b"alter table hl." + gone + b" rename to gone")
    tick(telling, instance)
    found = {alert.rule for alert in open_ones(telling, clock)}
    assert "throughput" in found, "nobody collects, and that is seen"
    assert ("rows_vanished" in found) == (gone == b"vanished_row"), "nobody can tell whether it is over"
    with telling.database.connection() as connection:
        assert alert_delivery.last_beat_ms(connection) == clock.now_ms()


def test_rules_are_judged_though_somebody_locks_the_health_log(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    with psycopg.connect(telling.database.libpq_url) as holder:
        holder.execute(b"lock table hl.system_health_log in access exclusive mode")
        tick(telling, instance)
    assert "throughput" in {alert.rule for alert in open_ones(telling, clock)}


def test_a_price_that_jumps_is_told_once_it_beats_its_markets_bound(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=telling, instance=instance)
    quotes = b"""insert into hl.market_context (market_id, seen_at, mark_price, day_notional_volume, fetch_id)
        select market_id, to_timestamp(%s), mark_price * %s, 1, 1 from hl.market_context
        join hl.market using (market_id) where coin = 'BTC' order by seen_at limit 1"""
    clock.advance(5 * MINUTE)
    with telling.database.connection() as connection:
        connection.execute(quotes, (clock.now_ms() / 1000, 1.05))
        connection.execute(
            b"""insert into hl.funding_rate (market_id, time, rate, fetch_id)
            select market_id, to_timestamp(%s), -0.005, 1 from hl.market where coin = 'ETH'""",
            (clock.now_ms() / 1000,),
        )
    tick(telling, instance)
    assert {alert.rule for alert in open_ones(telling, clock)} & {"funding_extreme", "price_move"} == {
        "funding_extreme"
    }
    with telling.database.connection() as connection:
        alert_delivery.change_market_bound(connection, "price_move", "BTC", 0.03)
    tick(telling, instance)
    found = {alert.rule: alert for alert in open_ones(telling, clock)}
    assert "BTC moved +5.0% within an hour" in found["price_move"].summary
    assert "ETH: the funding rate is -0.5000% an hour" in found["funding_extreme"].summary


def test_a_series_of_low_confidence_is_found(
    telling: Pipeline, instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    run_job("collect", pipeline=telling, instance=instance)
    clock.advance(MINUTE)
    with telling.database.connection() as connection:
        alert_delivery.change_rule(connection, "confidence", threshold=0.01)  # the fake's candles deserve little
        connection.execute(
            b"""insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)
            select series_id, to_timestamp(%s), 0.005, 'poor', 'completeness', '{}', '{}' from hl.series
            join hl.market using (market_id) where coin = 'ETH' and interval = '1h'""",
            (clock.now_ms() / 1000,),
        )
    tick(telling, instance)
    (alert,) = [alert for alert in open_ones(telling, clock) if alert.rule == "confidence"]
    assert alert.severity == "critical"
    assert alert.summary == "ETH 1h: confidence 0% (bound 1%), weakest: completeness"


def open_ones(pipeline: Pipeline, clock: ManualClock) -> list[alert_delivery.ListedAlert]:
    with pipeline.database.connection() as connection:
        return alert_delivery.listed(connection, clock.now_ms())


def test_judging_without_telling_is_no_beat(
    telling: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise psycopg.errors.InsufficientPrivilege("permission denied for table alert_incident")

    monkeypatch.setattr("hl_pipeline.storage.alert_delivery.take", break_down)
    with pytest.raises(psycopg.Error, match="permission denied"):
        tick(telling, instance)
    with telling.database.connection() as connection:
        assert alert_delivery.last_beat_ms(connection) is None, "the dead man's switch must notice"
