-- Which alerts are open, or were resolved since an instant; the gravest and newest first? With why they are not told.
select
    alert.alert_id, alert.severity, alert.rule, alert.labels, alert.summary, alert.next_step, alert.times_seen,
    hl.epoch_ms(alert.first_seen), hl.epoch_ms(alert.last_seen), hl.epoch_ms(alert.resolved_at),
    hl.epoch_ms(alert.acknowledged_at), alert.acknowledged_by,
    case when alert.resolved_at is null then hl.why_muted(alert.rule, alert.labels, %(now)s) end,
    alert.incident_id, hl.epoch_ms(incident.told_at)
from hl.alert
left join hl.alert_incident as incident using (incident_id)
where alert.resolved_at is null or alert.resolved_at > %(since)s
order by (alert.resolved_at is null) desc, hl.severity_rank(alert.severity) desc, alert.last_seen desc, alert.alert_id
