-- Of the incidents that people were told of as a warning or worse: how many ended since an instant, how many of those late,
-- after how many seconds on average; and how many are open for longer than the bound?
select
    count(*) filter (where resolved_at >= %(since)s) as repaired,
    count(*) filter (where resolved_at >= %(since)s and resolved_at - opened_at > %(slowest)s::interval) as late,
    avg(extract(epoch from resolved_at - opened_at)) filter (where resolved_at >= %(since)s)::double precision as mean_seconds,
    count(*) filter (where resolved_at is null and %(now)s::timestamptz - opened_at > %(slowest)s::interval) as overdue
from hl.alert_incident
where told_severity in ('warning', 'error', 'critical') and opened_at <= %(now)s
