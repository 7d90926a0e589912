-- What did each tracked market trade in the last 24 hours, in quote currency, as the exchange last quoted it?
select market.coin, context.day_notional_volume::float8 as volume
from hl.market
cross join lateral (
    select row.day_notional_volume
    from hl.market_context as row
    where row.market_id = market.market_id
    order by row.seen_at desc
    limit 1
) as context
where market.tracked
