-- Which alerts in the outbox are to be told now? They join their group's open incident, or open it.
-- Not yet: those younger than the rule's wait, unless their incident is open or another of their group is older; and
-- those that something mutes.
with waiting as materialized (
    select
        outbox.outbox_id, alert.alert_id, alert.rule, alert.labels, alert.first_seen,
        (
            select coalesce(jsonb_object_agg(label, alert.labels -> label), '{}')
            from unnest(rule.group_by) as label
        ) as group_key,
        outbox.written_at + coalesce(rule.wait, interval '30 seconds') <= %(now)s as is_due,
        alert.resolved_at is null or rule.wait = interval '0' as is_worth_telling
    from hl.alert_outbox as outbox
    join hl.alert using (alert_id)
    left join hl.alert_rule as rule on rule.name = alert.rule
    where outbox.kind = 'firing' and outbox.taken_at is null
),

audible as materialized (
    select waiting.*, bool_or(is_due) over (partition by rule, group_key) as is_group_due
    from waiting
    where is_worth_telling and hl.why_muted(rule, labels, %(now)s) is null
),

taken as materialized (
    select audible.*
    from audible
    left join hl.alert_incident as incident
        on incident.rule = audible.rule and incident.group_key = audible.group_key and incident.resolved_at is null
    where audible.is_group_due or incident.incident_id is not null
),

opened as (
    insert into hl.alert_incident (rule, group_key, opened_at)
    select rule, group_key, min(first_seen) from taken
    group by rule, group_key
    on conflict (rule, group_key) where resolved_at is null do update set rule = excluded.rule
    returning incident_id, rule, group_key
),

joined as (
    update hl.alert set incident_id = opened.incident_id
    from taken
    join opened using (rule, group_key)
    where alert.alert_id = taken.alert_id
)

update hl.alert_outbox set taken_at = %(now)s
from taken
where alert_outbox.outbox_id = taken.outbox_id
