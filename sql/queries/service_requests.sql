-- How many candle requests of the runs since an instant got no usable answer, and how many were sent?
select coalesce(sum(requests), 0)::bigint as requests, coalesce(sum(failed), 0)::bigint as failed
from hl.performance_history
where started_at >= %(since)s and started_at <= %(now)s
