-- Takes from the outbox what nobody need be told: alerts that were over before they were due, and, since an incident
-- looks at its alerts itself, that they are over.
update hl.alert_outbox set taken_at = %(now)s
from hl.alert
where
    alert_outbox.alert_id = alert.alert_id
    and alert_outbox.taken_at is null
    and alert.resolved_at is not null
