-- How did requests fare in the 15 minutes of market time before an instant (429s: in the last five), and when did
-- one last land?
select
    count(*) filter (where recent and status <> 'asked') as requests,
    count(*) filter (where recent and status = 'failed') as failed,
    coalesce(sum(refused) filter (where asked_at > %(now)s::timestamptz - interval '5 minutes'), 0) as limited,
    percentile_cont(0.5) within group (order by latency_ms) filter (where recent) as p50_ms,
    percentile_cont(0.99) within group (order by latency_ms) filter (where recent) as p99_ms,
    hl.epoch_ms(max(asked_at) filter (where status = 'landed' and request_type = 'candleSnapshot')) as last_landed_ms
from (
    select newest.*, newest.asked_at > %(now)s::timestamptz - interval '15 minutes' as recent
    from (select * from hl.fetch order by fetch_id desc limit 20000) as newest
    where newest.asked_at <= %(now)s::timestamptz
) as judged
