-- How many markets has the live stream quoted in the last two minutes? 0 when some tracked, listed market has had no
-- quote at all for ten minutes: then the exchange is to be asked for all of them.
with tracked as (
    select market_id from hl.market where tracked and not is_delisted
),

quoted as (
    select tracked.market_id, newest.seen_at, newest.by_stream
    from tracked
    left join lateral (
        select
            market_context.seen_at,
            exists (
                select from hl.fetch as answer
                where answer.fetch_id = market_context.fetch_id and answer.request_type = 'candle stream'
            ) as by_stream
        from hl.market_context
        where market_context.market_id = tracked.market_id
            and market_context.seen_at > %(now)s::timestamptz - interval '10 minutes'
            and market_context.seen_at <= %(now)s
        order by market_context.seen_at desc
        limit 1
    ) as newest on true
)

select
    case
        when bool_or(seen_at is null) then 0
        else count(*) filter (where by_stream and seen_at > %(now)s::timestamptz - interval '2 minutes')
    end
from quoted
