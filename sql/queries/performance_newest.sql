-- How did the newest runs of each lane fare that asked something and ended well, newest first?
select history.*
from unnest(array['live', 'gap', 'backfill']) as wanted (name)
cross join lateral (
    select lane, candles_per_second, p99_ms, peak_memory_mb, cpu_seconds
    from hl.performance_history
    where lane = wanted.name and succeeded and requests > 0
    order by started_at desc
    limit %(most)s
) as history
