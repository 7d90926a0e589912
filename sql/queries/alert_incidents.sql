-- How do the open incidents stand? Audible are the open alerts that nothing mutes, loud those of them that nobody
-- acknowledged. The examples are the gravest and oldest, open ones first.
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
    examples.shown,
    found.audible
from hl.alert_incident as incident
left join hl.alert_rule as rule on rule.name = incident.rule
cross join lateral (
    select
        count(*) as alerts,
        count(*) filter (where resolved_at is null) as open,
        count(*) filter (where is_audible and acknowledged_at is null) as loud,
        (array_agg(severity order by (resolved_at is null) desc, hl.severity_rank(severity) desc))[1] as severity,
        (array_agg(severity order by hl.severity_rank(severity) desc) filter (where is_audible))[1] as audible,
        max(resolved_at) as last_resolved
    from (
        select
            alert.resolved_at, alert.acknowledged_at, alert.severity,
            case when alert.resolved_at is null then hl.why_muted(alert.rule, alert.labels, %(now)s) is null end as is_audible
        from hl.alert
        where alert.incident_id = incident.incident_id
    ) as its
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
