-- How did requests fare in the 15 minutes of market time before an instant (429s: in the last five), and when did
-- candles last land, read or streamed? What the stream lands is no request.
with newest as materialized (
    select *
    from (select * from hl.fetch order by fetch_id desc limit 20000) as newest
    where asked_at <= %(now)s::timestamptz
),

judged as (
    select newest.*, newest.asked_at > %(now)s::timestamptz - interval '15 minutes' as recent
    from newest
    where request_type <> 'candle stream'
)

select
    count(*) filter (where recent and status <> 'asked') as requests,
    count(*) filter (where recent and status = 'failed') as failed,
    coalesce(sum(refused) filter (where asked_at > %(now)s::timestamptz - interval '5 minutes'), 0) as limited,
    percentile_cont(0.5) within group (order by latency_ms) filter (where recent) as p50_ms,
    percentile_cont(0.99) within group (order by latency_ms) filter (where recent) as p99_ms,
    (
        select hl.epoch_ms(max(asked_at))
        from newest
        where status = 'landed' and request_type in ('candleSnapshot', 'candle stream')
    ) as last_landed_ms
from judged
