-- Somebody looks after these open alerts: one by its number, or all of its incident.
update hl.alert set acknowledged_at = %(now)s, acknowledged_by = %(by)s
where
    resolved_at is null
    and acknowledged_at is null
    and (
        alert_id = %(alert_id)s
        or incident_id = (select incident_id from hl.alert where alert_id = %(alert_id)s)
    )
