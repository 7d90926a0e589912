"""Assets grow old under Dagster's own freshness daemon: in time, soon late, late, in time again; the sensor follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateRecord
from dagster._core.test_utils import freeze_time

from hl_pipeline.defs.freshness import freshness_policies
from hl_pipeline.defs.launch import run_job, set_automation
from hl_pipeline.defs.sensors.late_assets import NAME
from hl_pipeline.runtime import Pipeline
from hl_pipeline_tests.defs.daemons import Daemon, daemon

PASS, WARN, FAIL, UNKNOWN = FreshnessState.PASS, FreshnessState.WARN, FreshnessState.FAIL, FreshnessState.UNKNOWN
COLLECTED = ("market_contexts", "live_candles", "confidence_scores", "latest_metrics")
EACH_MINUTE = ("endpoint_health", "system_health", "pipeline_report")
MARKETS = ("markets",)
NIGHTLY = ("retention",)
ALERTS = "select labels ->> 'asset' from hl.alert where labels ->> 'check' = 'freshness policy' and resolved_at is null"
SECOND = timedelta(seconds=1)
#: Since when after it was made each asset is soon late, and late.
WINDOWS = {
    EACH_MINUTE: (timedelta(minutes=5), timedelta(minutes=15)),
    COLLECTED: (timedelta(minutes=20), timedelta(minutes=45)),
    MARKETS: (timedelta(hours=2), timedelta(hours=4)),
    NIGHTLY: (timedelta(hours=36), timedelta(hours=60)),
}


def records(instance: dg.DagsterInstance) -> dict[str, FreshnessStateRecord]:
    """What the freshness daemon last wrote, by asset."""
    keys = [dg.AssetKey(name) for name in freshness_policies(60)]
    return {key.to_user_string(): record for key, record in instance.get_freshness_state_records(keys).items()}


def expected(age: timedelta) -> dict[str, FreshnessState]:
    """What each asset is that was made so long ago; what nothing has made yet is not judged."""
    found = dict.fromkeys(freshness_policies(60), UNKNOWN)
    for names, (warn, fail) in WINDOWS.items():
        found |= dict.fromkeys(names, FAIL if age >= fail else WARN if age >= warn else PASS)
    return found


def make(instance: dg.DagsterInstance, pipeline: Pipeline, at: datetime, *jobs: str) -> None:
    """Run jobs at an instant of Dagster's clock."""
    with freeze_time(at):
        for job in jobs:
            outcome = run_job(job, pipeline=pipeline, instance=instance)
            assert outcome.success, outcome.failure


def judged(daemons: Daemon, at: datetime) -> dict[str, FreshnessState]:
    """The states of the assets once the daemon has looked, at an instant."""
    daemons.at = at
    daemons.judge_freshness()
    return {name: record.freshness_state for name, record in records(daemons.instance).items()}


def alerted(daemons: Daemon, pipeline: Pipeline) -> set[str]:
    """Assets with an open alert, once the sensor has looked; it does so once a minute."""
    daemons.at += timedelta(minutes=1)
    daemons.look()
    with pipeline.database.connection() as connection:
        return {name for (name,) in connection.execute(ALERTS.encode())}


@pytest.mark.usefixtures("settings_of_an_empty_database")
def test_assets_are_called_late_to_the_second_and_in_time_once_made_again_and_the_sensor_follows(
    pipeline: Pipeline, kept_in_postgres: dg.DagsterInstance
) -> None:
    instance, made = kept_in_postgres, datetime.now(UTC)
    assert "FRESHNESS_DAEMON" in instance.get_required_daemon_types(), "`hl up` runs it"
    make(instance, pipeline, made, "refresh_markets", "collect", "health", "apply_retention")
    set_automation(True, [NAME], instance=instance)
    with daemon(instance, made) as daemons:
        for window in sorted(bound for bounds in WINDOWS.values() for bound in bounds):
            for age in (window - SECOND, window):
                assert judged(daemons, made + age) == expected(age), age
            late = {name for name, state in expected(window).items() if state is FAIL}
            assert alerted(daemons, pipeline) == late, "soon late is told nobody"
        before = records(instance)
        assert judged(daemons, daemons.at + SECOND)["markets"] is FAIL
        assert records(instance) == before, "a state that did not change is not written again"

        make(instance, pipeline, daemons.at, "refresh_markets")
        assert judged(daemons, daemons.at + SECOND) == {**expected(timedelta(days=9)), "markets": PASS}
        assert alerted(daemons, pipeline) == {*EACH_MINUTE, *COLLECTED, *NIGHTLY}
        make(instance, pipeline, daemons.at, "collect", "apply_retention")
        assert judged(daemons, daemons.at + SECOND) == {**expected(SECOND), **dict.fromkeys(EACH_MINUTE, FAIL)}
        assert alerted(daemons, pipeline) == set(EACH_MINUTE)
