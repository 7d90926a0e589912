-- Which tracked markets' mark price moved by more than their bound within an hour? Held against the oldest quote of that
-- hour; a quote older than ten minutes says nothing of now.
select market.coin, newest.mark_price / oldest.mark_price - 1 as moved, newest.mark_price, oldest.mark_price, bound.threshold
from hl.market
cross join lateral (
    select mark_price, seen_at
    from hl.market_context
    where market_id = market.market_id and seen_at <= %(now)s and seen_at > %(now)s::timestamptz - interval '10 minutes'
    order by seen_at desc
    limit 1
) as newest
cross join lateral (
    select mark_price
    from hl.market_context
    where market_id = market.market_id and seen_at <= %(now)s and seen_at >= %(now)s::timestamptz - interval '1 hour'
    order by seen_at
    limit 1
) as oldest
left join hl.alert_rule_market as own on own.rule = 'price_move' and own.coin = market.coin
cross join lateral (select coalesce(own.threshold, %(threshold)s::float8) as threshold) as bound
where market.tracked and abs(newest.mark_price / oldest.mark_price - 1) > bound.threshold
order by market.coin
