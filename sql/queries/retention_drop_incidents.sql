-- Drops incidents that ended before an instant, with their notices, once each was sent; at most %(batch)s. A notice that
-- nobody has tried to send since that instant waits for a channel that there is no more: each failure puts it off.
delete from hl.alert_incident
where incident_id in (
    select incident_id
    from hl.alert_incident as incident
    where resolved_at < %(before)s
        and not exists (
            select from hl.alert_notice as notice
            join hl.alert_delivery as delivery using (notice_id)
            where notice.incident_id = incident.incident_id and delivery.sent_at is null
                and delivery.due_at >= %(before)s
        )
    limit %(batch)s
)
