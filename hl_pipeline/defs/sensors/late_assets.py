"""Dagster calls an asset late: an alert, resolved when it is made again. Dagster itself tells nobody."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg
from dagster._core.definitions.freshness import FreshnessState

from hl_pipeline.defs.freshness import freshness_policies
from hl_pipeline.model.alert import Alert
from hl_pipeline.notify.alerts import failed_check
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alerts

NAME = "follow_freshness"


@dg.sensor(
    name=NAME,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Every minute: reads which assets Dagster calls late by their freshness policies, and raises an alert "
    "for each, resolved when the asset is made again. Starts no run: the schedules do.",
)
def follow_freshness(context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.SkipReason:
    """Hold the alerts against the states that the freshness daemon last wrote."""
    keys = [dg.AssetKey(name) for name in freshness_policies(pipeline.settings.period_seconds)]
    records = context.instance.get_freshness_state_records(keys)
    late = sorted(
        key.to_user_string() for key, record in records.items() if record.freshness_state is FreshnessState.FAIL
    )
    now_ms = pipeline.clock.now_ms()
    with pipeline.database.connection() as connection:
        for key in keys:
            alert = late_asset(key.to_user_string())
            if key.to_user_string() in late:
                alerts.raise_alert(connection, alert, now_ms)
            else:
                alerts.resolve(connection, alert.fingerprint, now_ms)
    if late:
        return dg.SkipReason(f"{len(late)} of {len(keys)} assets are late: {', '.join(late)}")
    return dg.SkipReason(f"none of {len(keys)} assets with a freshness policy is late")


def late_asset(asset: str) -> Alert:
    """Nothing made the asset for longer than its policy allows."""
    return failed_check(
        asset,
        "freshness policy",
        "it was not made for longer than its freshness policy allows",
        "is the schedule on that makes it (Automation in the UI), and what did its last run say?",
    )
