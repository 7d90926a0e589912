-- What did the newest health report say, if it is not older than five minutes?
select report
from hl.system_health_log
where logged_at > %(now)s::timestamptz - interval '5 minutes' and logged_at <= %(now)s::timestamptz
order by logged_at desc
limit 1
