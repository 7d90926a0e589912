"""Which assets may grow how old, and who is told when one does."""

from __future__ import annotations

import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange, TimeWindowFreshnessPolicy

from hl_pipeline.defs.freshness import WITHOUT_POLICY, freshness_policies
from hl_pipeline.defs.listing import build
from hl_pipeline.defs.sensors.late_assets import follow_freshness
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.runtime import Pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import alerts


def specs(settings: Settings | None = None) -> dict[str, dg.AssetSpec]:
    found = build(settings=settings or Settings()).assets or []
    return {
        spec.key.to_user_string(): spec
        for asset in found
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }


def window(spec: dg.AssetSpec) -> tuple[timedelta, timedelta]:
    policy = spec.freshness_policy
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert policy.warn_window is not None
    return policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()


def test_what_a_schedule_makes_has_a_policy_and_a_partitioned_history_has_none() -> None:
    found = specs()
    with_one = {name for name, spec in found.items() if spec.freshness_policy is not None}
    partitioned = {name for name, spec in found.items() if spec.partitions_def is not None}
    assert "candles_1m" in partitioned
    assert not with_one & partitioned, "a back-fill of an old month would make it look fresh"
    assert set(found) - partitioned - with_one <= WITHOUT_POLICY
    assert with_one == set(freshness_policies(60))
    assert {"live_candles", "markets", "system_health", "data_contracts", "retention"} <= with_one


@pytest.mark.parametrize(("period", "warn", "fail"), [(60, 20, 45), (300, 20, 45), (900, 47, 108)])
def test_the_windows_of_what_is_collected_follow_the_period(period: int, warn: int, fail: int) -> None:
    found = specs(Settings(period_seconds=period))
    for name in ("market_contexts", "live_candles", "confidence_scores", "latest_metrics"):
        assert window(found[name]) == (timedelta(minutes=warn), timedelta(minutes=fail))


def test_the_period_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_PERIOD_SECONDS", "900")
    (live,) = [asset for asset in build().assets or [] if isinstance(asset, dg.AssetsDefinition)
               and asset.keys == {dg.AssetKey("live_candles")}]  # fmt: skip
    assert window(next(iter(live.specs)))[0] == timedelta(minutes=47)


def test_a_wrong_variable_is_known_when_the_definitions_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_PERIOD_SECONDS", "5")
    with pytest.raises(InvalidSetting, match="HL_PERIOD_SECONDS"):
        build()


def say(instance: dg.DagsterInstance, asset: str, state: FreshnessState) -> None:
    """As the freshness daemon does."""
    change = FreshnessStateChange(
        key=dg.AssetKey(asset),
        new_state=state,
        previous_state=FreshnessState.UNKNOWN,
        state_change_timestamp=time.time(),
    )
    instance._report_runless_asset_event(asset_event=change)


def follow(instance: dg.DagsterInstance, pipeline: Pipeline) -> str:
    found = follow_freshness(dg.build_sensor_context(instance=instance, resources={"pipeline": pipeline}))
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def test_a_late_asset_is_one_alert_until_it_is_made_again(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    say(instance, "markets", FreshnessState.PASS)
    say(instance, "latest_metrics", FreshnessState.WARN)
    assert "none of" in follow(instance, pipeline)
    say(instance, "markets", FreshnessState.FAIL)
    for _ in range(2):
        assert "late: markets" in follow(instance, pipeline)
        with pipeline.database.connection() as connection:
            assert alerts.count_open(connection, "check_failed") == 1
    say(instance, "markets", FreshnessState.PASS)
    follow(instance, pipeline)
    with pipeline.database.connection() as connection:
        assert alerts.count_open(connection, "check_failed") == 0
