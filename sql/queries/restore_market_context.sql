-- Puts a file's quotes back where none stands; how many were put back, and how many stand in the table now?
with incoming as materialized (
    select market.market_id, timestamptz 'epoch' + staged.seen_at * interval '1 ms' as at, staged.*
    from pg_temp.staging_restore_market_context as staged
    join hl.market using (coin)
),

written as (
    insert into hl.market_context (
        market_id, seen_at, mark_price, oracle_price, mid_price, previous_day_price, funding, premium, open_interest,
        day_notional_volume, day_base_volume, fetch_id
    )
    select
        market_id, at, mark_price, oracle_price, mid_price, previous_day_price, funding, premium, open_interest,
        day_notional_volume, day_base_volume, fetch_id
    from incoming
    order by market_id, at
    on conflict (market_id, seen_at) do nothing
    returning market_id
)

select (select count(*) from written), (select count(*) from incoming)
