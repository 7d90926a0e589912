-- Which delivery of these channels is next? The gravest first, an incident's notices in their order; those that failed
-- four times come last, for one that its channel never takes must not hold up the others. It is claimed: no other
-- process sends it before the claim is past.
update hl.alert_delivery set attempts = attempts + 1, claimed_until = %(until)s
from (
    select delivery.notice_id, delivery.channel, notice.kind, notice.severity, notice.title, notice.body
    from hl.alert_delivery as delivery
    join hl.alert_notice as notice using (notice_id)
    where
        delivery.channel = any(%(channels)s)
        and delivery.sent_at is null
        and delivery.due_at <= %(now)s
        and coalesce(delivery.claimed_until <= %(now)s, true)
        and not exists (
            select from hl.alert_notice as before
            join hl.alert_delivery as unsent using (notice_id)
            where
                before.incident_id = notice.incident_id
                and before.notice_id < notice.notice_id
                and unsent.channel = delivery.channel
                and unsent.sent_at is null
        )
    order by delivery.attempts >= 4, hl.severity_rank(notice.severity) desc, notice.notice_id, delivery.channel
    limit 1
    for update of delivery skip locked
) as next
where alert_delivery.notice_id = next.notice_id and alert_delivery.channel = next.channel
returning alert_delivery.notice_id, alert_delivery.channel, alert_delivery.attempts, next.kind, next.severity, next.title, next.body
