-- Which tracked markets' newest funding rate, of the last two hours, is beyond their bound?
select market.coin, newest.rate, bound.threshold
from hl.market
cross join lateral (
    select rate
    from hl.funding_rate
    where market_id = market.market_id and time <= %(now)s and time > %(now)s::timestamptz - interval '2 hours'
    order by time desc
    limit 1
) as newest
left join hl.alert_rule_market as own on own.rule = 'funding_extreme' and own.coin = market.coin
cross join lateral (select coalesce(own.threshold, %(threshold)s::float8) as threshold) as bound
where market.tracked and abs(newest.rate) > bound.threshold
order by market.coin
