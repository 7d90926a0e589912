-- The newest mark price of a market is its newest close.
update hl.market_context
set mark_price = newest.close
from scale.series
cross join lateral (
    select candle.close
    from hl.candle
    where candle.series_id = series.series_id
        and candle.open_time < %(edge)s
        and candle.open_time >= %(edge)s::timestamptz - interval '1 day'
    order by candle.open_time desc
    limit 1
) as newest
where series.minutes = 1
    and market_context.market_id = series.market_id
    and market_context.seen_at >= %(edge)s::timestamptz - interval '10 minutes'
