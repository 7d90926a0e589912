-- Writes a notice of an incident with one delivery a channel, and in the incident that it was told. A resolution goes to
-- those that were told of the trouble; a repeat is not put behind a notice that its channel has not taken yet.
with told as (
    update hl.alert_incident
    set
        told_at = %(now)s,
        told_severity = case
            when hl.severity_rank(told_severity) > hl.severity_rank(%(severity)s) then told_severity
            else %(severity)s
        end,
        resolved_at = case when %(kind)s = 'resolved' then %(now)s::timestamptz end
    where incident_id = %(incident_id)s
),

notice as (
    insert into hl.alert_notice (incident_id, kind, severity, title, body, made_at)
    values (%(incident_id)s, %(kind)s, %(severity)s, %(title)s, %(body)s, %(now)s)
    returning notice_id
),

earlier as (
    select channel, bool_or(sent_at is null) as is_waiting
    from hl.alert_delivery
    join hl.alert_notice using (notice_id)
    where incident_id = %(incident_id)s
    group by channel
)

insert into hl.alert_delivery (notice_id, channel, due_at)
select notice.notice_id, given.channel, %(now)s
from notice
cross join (
    select channel from unnest(%(channels)s::text[]) as channel
    where %(kind)s <> 'resolved'
    union
    select channel from earlier where %(kind)s = 'resolved'
) as given
left join earlier on earlier.channel = given.channel
where %(kind)s <> 'repeat' or not coalesce(earlier.is_waiting, false)
