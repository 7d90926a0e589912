-- Two days of requests before the edge, one a market and five minutes; those of the months before lie back as far.
with aged as (
    update hl.fetch set recorded_at = recorded_at - interval '31 days'
    where recorded_at > clock_timestamp() - interval '20 days'
)

insert into hl.fetch (
    endpoint, request_type, coin, interval, window_start, window_end, lane, run_id, asked_at, status, rows, weight,
    latency_ms, sha256, http_status, recorded_at
)
select
    'https://api.hyperliquid.xyz/info', 'candleSnapshot', market.coin, '1m', asked - interval '1 hour', asked, 'live',
    'run', asked, 'landed', 60, 21, 80, sha256('x'), 200,
    clock_timestamp() - (%(edge)s::timestamptz - asked)
from generate_series(%(edge)s::timestamptz - interval '2 days', %(edge)s, interval '5 minutes') as asked
cross join hl.market
order by asked, market.market_id
