-- How do the open incidents stand? Loud are the open alerts that nobody acknowledged and nothing mutes. The examples are
-- the gravest and oldest, open ones first.
select
    incident.incident_id,
    incident.rule,
    hl.epoch_ms(incident.opened_at),
    hl.epoch_ms(incident.told_at),
    incident.told_severity,
    extract(epoch from coalesce(rule.wait, interval '30 seconds'))::float8 * 1000 as wait_ms,
    extract(epoch from coalesce(rule.repeat_every, interval '4 hours'))::float8 * 1000 as repeat_ms,
    found.alerts,
    found.open,
    found.loud,
    found.severity,
    hl.epoch_ms(found.last_resolved),
    examples.shown
from hl.alert_incident as incident
left join hl.alert_rule as rule on rule.name = incident.rule
cross join lateral (
    select
        count(*) as alerts,
        count(*) filter (where resolved_at is null) as open,
        count(*) filter (
            where
                resolved_at is null and acknowledged_at is null
                and hl.why_muted(alert.rule, alert.labels, %(now)s) is null
        ) as loud,
        (array_agg(severity order by (resolved_at is null) desc, hl.severity_rank(severity) desc))[1] as severity,
        max(resolved_at) as last_resolved
    from hl.alert
    where alert.incident_id = incident.incident_id
) as found
cross join lateral (
    select jsonb_agg(jsonb_build_array(summary, next_step)) as shown
    from (
        select summary, next_step
        from hl.alert
        where alert.incident_id = incident.incident_id
        order by (resolved_at is null) desc, hl.severity_rank(severity) desc, first_seen, alert_id
        limit %(examples)s
    ) as gravest
) as examples
where incident.resolved_at is null and found.alerts > 0
order by incident.incident_id
