"""The one who tells: judges the alert rules, and sends what is due."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.collect.alerting import evaluate, tell
from hl_pipeline.defs.assets.system_health import vitals_of
from hl_pipeline.examine import PATIENT_S
from hl_pipeline.notify.channels import open_channels
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import alert_delivery


@dg.sensor(
    name="deliver_alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Every 30 s: judges the rules of hl.alert_rule, then sends what is new, due again or over to the "
    "channels of HL_ALERT_URLS, or to standard error. Starts no run. `hl health --alert`, from a timer outside "
    "Dagster, says so when this stands still.",
)
def deliver_alerts(context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.SkipReason:
    """Judge, tell, and say what came of it."""
    channels = open_channels([url.get_secret_value() for url in pipeline.settings.alert_urls])
    try:
        vitals = vitals_of(pipeline, within_s=PATIENT_S)
        for group, reason in vitals.unmeasured.items():
            context.log.warning("%s could not be measured, the rules on it are left as they are: %s", group, reason)
        with pipeline.database.connection() as connection:
            found = evaluate(connection, vitals)
    finally:
        told = tell(pipeline.database, channels, pipeline.clock)  # what others raised is told, whatever is wrong here
    with pipeline.database.connection() as connection:
        alert_delivery.beat(connection, vitals.now_ms)  # judged and told: one without the other is no beat
        records = alert_delivery.rates(connection, pipeline.clock.now_ms())
    waiting = sum(record.waiting for record in records)
    for record in records:
        if record.waiting and record.last_error:
            context.log.warning("%s did not take %d notices: %s", record.channel, record.waiting, record.last_error)
    return dg.SkipReason(
        f"{found} findings; {told.notices} notices made, {told.sent} sent, {waiting} wait for their channel"
    )
