-- How did each channel fare over the last 24 hours: how many notices were made for it, sent and wait, in how many
-- attempts, how long the slowest took in seconds, and why the newest that failed did?
select
    delivery.channel,
    count(*) as notices,
    count(*) filter (where sent_at is not null) as sent,
    count(*) filter (where sent_at is null) as waiting,
    sum(attempts) as attempts,
    count(*) filter (where sent_at is not null)::float8 / nullif(sum(attempts), 0) as success_rate,
    max(extract(epoch from coalesce(sent_at, %(now)s) - notice.made_at))::float8 as slowest_s,
    (array_agg(last_error order by notice_id desc) filter (where last_error is not null))[1] as last_error
from hl.alert_delivery as delivery
join hl.alert_notice as notice using (notice_id)
where notice.made_at > %(now)s::timestamptz - interval '24 hours' or delivery.sent_at is null
group by delivery.channel
order by delivery.channel
