-- Of the notices made in 24 hours: how many were sent, in how many attempts, how many wait, for how many seconds, and on
-- which channels does one wait for five minutes?
select
    count(*) as notices,
    count(*) filter (where delivery.sent_at is not null) as sent,
    coalesce(sum(delivery.attempts), 0)::bigint as attempts,
    count(*) filter (where delivery.sent_at is null) as waiting,
    (max(extract(epoch from %(now)s::timestamptz - notice.made_at)) filter (where delivery.sent_at is null))::float8
        as longest_wait_s,
    coalesce(
        array_agg(distinct delivery.channel) filter (
            where delivery.sent_at is null and notice.made_at < %(now)s::timestamptz - interval '5 minutes'
        ),
        '{}'
    ) as late
from hl.alert_delivery as delivery
join hl.alert_notice as notice using (notice_id)
where notice.made_at > %(now)s::timestamptz - interval '24 hours'
