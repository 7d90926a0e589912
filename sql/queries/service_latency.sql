-- Of the candle requests answered in the last so long, by this server's own clock: how many, how many slower than the
-- bound, and the 99th percentile in ms?
select
    count(*) as answered,
    count(*) filter (where latency_ms > %(slowest_ms)s) as slow,
    percentile_cont(0.99) within group (order by latency_ms) as p99_ms
from hl.fetch
where
    recorded_at >= clock_timestamp() - %(length)s::interval
    and request_type = 'candleSnapshot'
    and status = 'landed'
