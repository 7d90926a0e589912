-- How far is the funding of these tracked perpetual markets read, and since when? Spot markets pay none.
select
    market.market_id,
    market.coin,
    market.is_delisted,
    hl.epoch_ms(newest.time) as newest_ms,
    coalesce(market.is_delisted and market.funding_ended_at >= market.delisted_seen, false) as ended,
    hl.epoch_ms(answer.asked_at) as read_ms,
    hl.epoch_ms(market.first_seen) as first_seen_ms
from hl.market
left join lateral (
    select funding_rate.time, funding_rate.fetch_id
    from hl.funding_rate
    where funding_rate.market_id = market.market_id
    order by funding_rate.time desc
    limit 1
) as newest on true
left join hl.fetch as answer on answer.fetch_id = newest.fetch_id
where market.tracked and market.kind in ('perp', 'builder') and market.coin = any(%(coins)s::text[])
order by market.coin
