-- How far is the funding of these tracked perpetual markets read? Spot markets pay none.
select
    market.market_id,
    market.coin,
    market.is_delisted,
    hl.epoch_ms(newest.time) as newest_ms,
    coalesce(market.is_delisted and market.funding_ended_at >= market.delisted_seen, false) as ended
from hl.market
left join lateral (
    select funding_rate.time
    from hl.funding_rate
    where funding_rate.market_id = market.market_id
    order by funding_rate.time desc
    limit 1
) as newest on true
where market.tracked and market.kind in ('perp', 'builder') and market.coin = any(%(coins)s::text[])
order by market.coin
