-- Takes from the outbox what nobody need be told: alerts that were over before they were due, and, since an incident
-- looks at its alerts itself, that they are over. News that came and went since the outbox was read waits for the next
-- time: they are told in any case.
update hl.alert_outbox set taken_at = %(now)s
from hl.alert
where
    alert_outbox.alert_id = alert.alert_id
    and alert_outbox.taken_at is null
    and alert.resolved_at is not null
    and not (
        alert_outbox.kind = 'firing'
        and exists (select from hl.alert_rule as rule where rule.name = alert.rule and rule.wait = interval '0')
        and hl.why_muted(alert.rule, alert.labels, %(now)s) is null
    )
