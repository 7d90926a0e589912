-- What is stored of the funding of these markets and months, and of each market in all? Spot markets pay none.
-- A rate belongs to the hour it falls into when seen from ten minutes before, and with it to a month; the hash covers
-- the rates in their order.
select
    market.coin,
    hl.epoch_ms(month) as month_ms,
    hl.epoch_ms(month + interval '1 month') as end_ms,
    held.rows,
    held.hash,
    hl.epoch_ms(date_trunc('hour', read.first + interval '10 minutes')) as first_hour,
    hl.epoch_ms(date_trunc('hour', read.newest + interval '10 minutes')) as newest_hour,
    coalesce(market.is_delisted and market.funding_ended_at >= market.delisted_seen, false) as is_read_to_end,
    hl.epoch_ms(%(due_until)s::timestamptz) as due_until
from hl.market
cross join unnest(%(months)s::timestamptz[]) as month
cross join lateral (
    select
        (select time from hl.funding_rate where market_id = market.market_id order by time limit 1) as first,
        (select time from hl.funding_rate where market_id = market.market_id order by time desc limit 1) as newest
) as read
cross join lateral (
    select
        count(*) as rows,
        encode(
            sha256(convert_to(string_agg(concat_ws(' ', hl.epoch_ms(time), rate, premium), E'\n' order by time), 'UTF8')),
            'hex'
        ) as hash
    from hl.funding_rate
    where
        funding_rate.market_id = market.market_id
        and time >= month - interval '10 minutes'
        and time < month + interval '1 month' - interval '10 minutes'
) as held
where market.kind in ('perp', 'builder') and market.coin = any(%(coins)s::text[])
order by market.coin, month
