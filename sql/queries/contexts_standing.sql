-- How many tracked, listed markets are there, how many of them were quoted since %(since)s, and when was the one quoted
-- last that is without a quote the longest? (null: never within a day)
with newest as (
    select market.coin, quote.seen_at
    from hl.market
    left join lateral (
        select context.seen_at
        from hl.market_context as context
        where
            context.market_id = market.market_id
            and context.seen_at > %(now)s::timestamptz - interval '1 day'
            and context.seen_at <= %(now)s
        order by context.seen_at desc
        limit 1
    ) as quote on true
    where market.tracked and not market.is_delisted
)

select
    count(*) as markets,
    count(*) filter (where seen_at >= %(since)s) as fresh,
    case when bool_or(seen_at is null) then null else min(seen_at) end as longest_without,
    coalesce(array_agg(coin order by coin) filter (where seen_at is null or seen_at < %(since)s), '{}') as late
from newest
