-- The newest week of funding rates of each tracked market (168 of them), as the contract suite reads them.
select
    market.coin,
    paid.time,
    paid.rate,
    paid.premium,
    lag(paid.time) over (partition by market.market_id order by paid.time) as previous
from hl.market
cross join lateral (
    select funding_rate.time, funding_rate.rate, funding_rate.premium
    from hl.funding_rate
    where funding_rate.market_id = market.market_id
    order by funding_rate.time desc
    limit 168
) as paid
where market.tracked
order by market.coin, paid.time
