"""A verdict a market and month: in passing when a month is recorded, nightly, and when a person asks."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pytest

from hl_pipeline.defs.checks.months import months_contract
from hl_pipeline.defs.launch import run_job
from hl_pipeline.defs.listing import build
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.conftest import NOW

HOURLY = dg.AssetKey("candles_1h")
CHECK = dg.AssetCheckKey(HOURLY, "month_keeps_contract")
NOVEMBER_TO_JANUARY = {
    "dagster/asset_partition_range_start": "BTC|2025-11-01",
    "dagster/asset_partition_range_end": "BTC|2026-01-01",
}


@pytest.fixture
def backfilled(pipeline: Pipeline, instance: dg.DagsterInstance) -> Pipeline:
    """Hourly candles of BTC from November to now, recorded by a back-fill."""
    assert run_job("refresh_markets", pipeline=pipeline, instance=instance).success
    outcome = run_job(
        "backfill_candles", partitions=("BTC|2025-11-01", "BTC|2026-01-01"), pipeline=pipeline, instance=instance
    )
    assert "2025-11-01" in str(instance.get_materialized_partitions(HOURLY)), outcome.failure
    return pipeline


def asked(pipeline: Pipeline, instance: dg.DagsterInstance, tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
    """*Execute* on the check, for the partitions that the tags name."""
    job = dg.define_asset_job("ask", selection=dg.AssetSelection.checks(months_contract))
    definitions = dg.Definitions.merge(build(pipeline=pipeline), dg.Definitions(jobs=[job]))
    return definitions.resolve_job_def("ask").execute_in_process(instance=instance, tags=dict(tags))


def verdicts(instance: dg.DagsterInstance) -> dict[str | None, str]:
    """The newest status of each partition."""
    records = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=100)
    return {record.partition: record.status.value for record in reversed(records)}


def test_a_back_fill_judges_the_months_it_records(backfilled: Pipeline, instance: dg.DagsterInstance) -> None:
    assert backfilled.clock.now_ms() == NOW
    assert verdicts(instance) == {f"BTC|{month}-01": "SUCCEEDED" for month in ("2025-11", "2025-12", "2026-01")}


def test_a_month_with_a_wrong_row_fails_alone_with_the_row(backfilled: Pipeline, instance: dg.DagsterInstance) -> None:
    with backfilled.database.connection() as connection:
        connection.execute(
            b"update hl.candle set volume = 0 where open_time in "
            b"('2025-12-03 04:00:00+00', '2025-12-03 05:00:00+00') and trades > 0"
        )
    result = asked(backfilled, instance, NOVEMBER_TO_JANUARY)
    assert result.success
    found = {check.partition: check for check in result.get_asset_check_evaluations() if check.asset_key == HOURLY}
    assert {key for key, check in found.items() if not check.passed} == {"BTC|2025-12-01"}
    failed = found["BTC|2025-12-01"]
    assert "2 of 744 final candles are with volume and no trades" in str(failed.description)
    assert "How bad: an error" in str(failed.description)
    rows = failed.metadata["failing rows"]
    assert isinstance(rows, dg.TableMetadataValue)
    assert [row.data for row in rows.records] == [
        {"open time (UTC)": "2025-12-03 04:00:00"},
        {"open time (UTC)": "2025-12-03 05:00:00"},
    ]


def test_a_row_that_somebody_removed_is_missed_by_the_ledgers_count(
    backfilled: Pipeline, instance: dg.DagsterInstance
) -> None:
    with backfilled.database.connection() as connection:
        connection.execute(b"delete from hl.candle where open_time = '2025-11-30 23:00:00+00'")
    result = asked(backfilled, instance, {"dagster/partition": "BTC|2025-11-01"})
    (found,) = [check for check in result.get_asset_check_evaluations() if check.asset_key == HOURLY]
    assert not found.passed
    assert "719 final candles, and 720 final slots in the ledger" in str(found.description)


def test_without_a_partition_the_current_month_of_every_market_is_judged(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    result = asked(pipeline, instance, {})
    judged = {check.partition for check in result.get_asset_check_evaluations() if check.asset_key == HOURLY}
    assert judged == {"BTC|2026-01-01", "ETH|2026-01-01"}
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_the_nightly_seal_judges_what_the_live_edge_made_whole(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    run_job("collect", pipeline=pipeline, instance=instance)
    assert verdicts(instance) == {}
    outcome = run_job("seal", pipeline=pipeline, instance=instance)
    assert outcome.success, outcome.failure
    found = verdicts(instance)
    assert {"BTC|2026-01-01", "ETH|2025-12-01"} <= set(found)
    assert set(found.values()) == {"SUCCEEDED"}
