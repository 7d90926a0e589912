-- Of the fetches older than an instant that were not judged yet: how many does nothing refer to, on how many bytes, the
-- oldest asked for when, and how many were looked at? At most %(batch)s are.
select
    count(*) filter (where not is_referenced) as rows,
    coalesce(sum(bytes) filter (where not is_referenced), 0)::bigint as bytes,
    hl.epoch_ms(min(asked_at) filter (where not is_referenced)) as oldest_ms,
    count(*) as judged
from hl.judged_fetches(
    coalesce((select judged_until from hl.retention_progress where kind = 'fetch'), 0), %(before)s, %(batch)s
)
