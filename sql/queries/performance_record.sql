-- How did a run fare? One row a run: a later step of the same run adds its time, and its requests are counted again.
with begun as (
    select
        least(
            clock_timestamp() - %(seconds)s * interval '1 second' - interval '1 second',
            (select asked_from from hl.performance_history where run_id = %(run_id)s)
        ) as asked_from
),

asked as (
    select
        coalesce(sum(refused), 0)::integer as refused,
        coalesce(sum(weight), 0)::integer as weight,
        coalesce(sum(rows), 0)::bigint as candles,
        count(*) filter (where status = 'landed')::integer as landed,
        percentile_cont(0.5) within group (order by latency_ms) as p50_ms,
        percentile_cont(0.99) within group (order by latency_ms) as p99_ms
    from hl.fetch
    where
        recorded_at >= (select asked_from from begun)
        and run_id = %(run_id)s
        and request_type = 'candleSnapshot'
)

insert into hl.performance_history as history (
    run_id, lane, started_at, asked_from, succeeded, seconds, requests, failed, refused, weight, candles,
    p50_ms, p99_ms, peak_memory_mb, cpu_seconds
)
select
    %(run_id)s, %(lane)s, %(started_at)s, begun.asked_from, %(succeeded)s, %(seconds)s, asked.landed + %(failed)s, %(failed)s,
    asked.refused, asked.weight, asked.candles, asked.p50_ms, asked.p99_ms, %(peak_memory_mb)s, %(cpu_seconds)s
from asked
cross join begun
on conflict (run_id) do update
set succeeded = history.succeeded and excluded.succeeded,
    seconds = history.seconds + excluded.seconds,
    requests = excluded.requests + history.failed,
    failed = history.failed + excluded.failed,
    refused = excluded.refused,
    weight = excluded.weight,
    candles = excluded.candles,
    p50_ms = excluded.p50_ms,
    p99_ms = excluded.p99_ms,
    peak_memory_mb = greatest(history.peak_memory_mb, excluded.peak_memory_mb),
    cpu_seconds = greatest(history.cpu_seconds, excluded.cpu_seconds)
returning
    seconds, requests, failed, refused, weight, candles, p50_ms, p99_ms, peak_memory_mb, cpu_seconds, candles_per_second
