"""The suites as asset checks: they pass, they fail with rows and a way out, or they say that they could not run."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.runtime import Pipeline

JUDGED = ["candles_contract", "contexts_contract", "markets_contract", "metrics_contract"]


def contracts(pipeline: Pipeline, instance: DagsterInstance) -> tuple[RunOutcome, dict[str, CheckOutcome]]:
    outcome = run_job("contracts", pipeline=pipeline, instance=instance)
    found = {check.name.removeprefix("data_contracts/"): check for check in outcome.checks}
    return outcome, {name: check for name, check in found.items() if name.endswith("_contract")}


def tamper(pipeline: Pipeline, statement: bytes) -> None:
    with pipeline.database.connection() as connection:
        connection.execute(statement)


def status(instance: DagsterInstance, check: str) -> str:
    """What the newest execution of the check came to; PLANNED when it was not evaluated.

    Of these the UI calls those of failed runs *execution failed*, the others *skipped*.
    """
    key = AssetCheckKey(AssetKey("data_contracts"), check)
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.status.value


def test_every_suite_passes_on_what_was_collected_and_says_how_much_it_read(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    outcome, checks = contracts(pipeline, instance)
    assert outcome.success, outcome.failure
    assert sorted(checks) == JUDGED
    assert all(check.passed for check in checks.values())
    assert "rows keep all 15 rules" in checks["candles_contract"].description
    assert checks["markets_contract"].metadata["rows judged"] == 2
    assert status(instance, "funding_contract") == "PLANNED", "no rate is stored yet"


def test_without_a_row_a_suite_could_not_run_and_neither_passes_nor_fails(
    pipeline: Pipeline, instance: DagsterInstance
) -> None:
    outcome, checks = contracts(pipeline, instance)
    assert not outcome.success
    assert checks == {}
    assert "candles_contract could not run: there is no row to judge yet" in (outcome.failure or "")
    assert status(instance, "candles_contract") == "PLANNED"


def test_a_suite_that_cannot_run_leaves_the_others_their_say(pipeline: Pipeline, instance: DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    tamper(pipeline, b"alter table hl.market_context rename column funding to funding_gone")
    outcome, checks = contracts(pipeline, instance)
    assert not outcome.success
    assert sorted(checks) == ["candles_contract", "markets_contract", "metrics_contract"]
    assert "contexts_contract could not run, which says nothing about the data" in (outcome.failure or "")
    assert status(instance, "contexts_contract") == "PLANNED"
    assert status(instance, "candles_contract") == "SUCCEEDED"


@pytest.mark.parametrize(
    ("statement", "check", "severity", "rule", "row"),
    [
        (
            b"update hl.candle set volume = 0 where open_time = '2026-01-10 11:30:00+00'",
            "candles_contract",
            "ERROR",
            "trades bring volume",
            {"coin": "BTC", "interval": "15m", "open_time": "2026-01-10 11:30:00+00:00", "volume_of_traded": "0.0"},
        ),
        (
            b"update hl.market set sz_decimals = 9 where coin = 'ETH'",
            "markets_contract",
            "WARN",
            "size decimals leave room for the price",
            {"coin": "ETH", "decimals_left": "-3.0"},
        ),
        (
            b"update hl.market_context set mid_price = 0",
            "contexts_contract",
            "ERROR",
            "mids are positive",
            {"coin": "BTC", "judged": "mid_price 0.0"},
        ),
    ],
)
def test_a_broken_row_fails_its_suite_with_rule_row_harm_and_what_to_press(
    pipeline: Pipeline,
    instance: DagsterInstance,
    statement: bytes,
    check: str,
    severity: str,
    rule: str,
    row: dict[str, str],
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    tamper(pipeline, statement)
    outcome, checks = contracts(pipeline, instance)
    assert outcome.success, outcome.failure
    found = checks[check]
    assert (found.passed, found.severity) == (False, severity)
    assert [name for name, other in checks.items() if not other.passed] == [check]
    assert rule in found.description
    assert ". How bad: " in found.description
    assert ". Can be healed: " in found.description
    assert ". Next: " in found.description
    rows: list[Any] = [record.data for record in found.metadata["failing rows"].records]
    assert 1 <= len(rows) <= 10
    assert any({"rule": rule, **row}.items() <= shown.items() for shown in rows)
    assert found.metadata["runbook"] == f"docs/runbooks/{check}.md"


def test_wrong_candles_say_until_when_they_can_be_read_again(pipeline: Pipeline, instance: DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    tamper(pipeline, b"update hl.candle set volume = 0 where open_time = '2026-01-10 11:30:00+00'")
    _, checks = contracts(pipeline, instance)
    assert "Can be healed: until 2026-03-03 13:30 UTC at the least" in checks["candles_contract"].description


def test_funding_rates_are_judged_once_they_are_there(pipeline: Pipeline, instance: DagsterInstance) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    tamper(
        pipeline,
        b"insert into hl.funding_rate (market_id, time, rate, premium, fetch_id) "
        b"select market_id, at, 0.0000125, 0.0001, 1 from hl.market, "
        b"generate_series(timestamptz '2026-01-09 00:00:00.048+00', '2026-01-10 12:00:00+00', interval '1 hour') as at",
    )
    _, checks = contracts(pipeline, instance)
    assert checks["funding_contract"].passed
    assert "72 rows keep all 8 rules" in checks["funding_contract"].description
    tamper(pipeline, b"update hl.funding_rate set rate = 0.05 where time < '2026-01-09 01:00:00+00'")
    _, checks = contracts(pipeline, instance)
    assert "rates are within the cap: 2 of 72 rows do not" in checks["funding_contract"].description
