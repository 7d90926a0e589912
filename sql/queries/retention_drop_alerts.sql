-- Drops alerts that were over before an instant and whose end was taken in; at most %(batch)s.
delete from hl.alert
where alert_id in (
    select alert_id
    from hl.alert
    where resolved_at < %(before)s
        and not exists (select from hl.alert_outbox where alert_outbox.alert_id = alert.alert_id and taken_at is null)
    limit %(batch)s
)
