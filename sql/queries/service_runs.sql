-- Of the runs since an instant: how many received candles, how many of those slower than the bound, how fast all together;
-- how many runs in all, how many over the memory bound, and the most that one held?
select
    count(candles_per_second) as receiving,
    count(*) filter (where candles_per_second < %(slowest)s) as slow,
    sum(candles) / nullif(sum(seconds) filter (where candles > 0), 0) as candles_per_second,
    count(*) as runs,
    count(*) filter (where peak_memory_mb >= %(most_memory_mb)s) as large,
    max(peak_memory_mb) as peak_memory_mb
from hl.performance_history
where started_at >= %(since)s and started_at <= %(now)s
