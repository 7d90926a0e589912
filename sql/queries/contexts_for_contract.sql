-- What the exchange quoted for each tracked market in the last hour, and at least the newest quote of the last day, as
-- the contract suite reads it.
select
    market.coin,
    market.kind,
    -- of a delisted market nothing new is expected
    market.is_delisted or market.absent_since is not null as is_delisted,
    quote.seen_at,
    quote.mark_price,
    quote.oracle_price,
    quote.mid_price,
    quote.previous_day_price,
    quote.funding,
    quote.premium,
    quote.open_interest,
    quote.day_notional_volume,
    quote.day_base_volume
from hl.market
-- market by market, by the key's index
cross join lateral (
    select recent.*
    from (
        select context.*, row_number() over (order by context.seen_at desc) as place
        from hl.market_context as context
        where
            context.market_id = market.market_id
            and context.seen_at > %(now)s::timestamptz - interval '1 day'
        order by context.seen_at desc
        limit 120
    ) as recent
    where recent.place = 1 or recent.seen_at > %(now)s::timestamptz - interval '1 hour'
) as quote
where market.tracked
order by market.coin, quote.seen_at
