-- Brings the markets up to date with what the exchange says, and writes down every attribute that changed.
with offered as (
    select *
    from jsonb_to_recordset(%(markets)s) as offered (
        coin text, kind text, dex text, sz_decimals smallint, max_leverage integer, is_delisted boolean
    )
),

before as (
    select market.* from hl.market join offered using (coin)
),

changed as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select before.market_id, %(seen_at)s, attribute, old_value, new_value
    from before
    join offered using (coin)
    cross join lateral (
        values
            ('kind', before.kind, offered.kind),
            ('dex', before.dex, offered.dex),
            ('sz_decimals', before.sz_decimals::text, offered.sz_decimals::text),
            ('max_leverage', before.max_leverage::text, offered.max_leverage::text),
            ('is_delisted', before.is_delisted::text, offered.is_delisted::text)
    ) as attribute (attribute, old_value, new_value)
    where old_value is distinct from new_value
    on conflict do nothing
    returning market_id, attribute, new_value
),

written as (
    insert into hl.market as market (
        coin, kind, dex, sz_decimals, max_leverage, is_delisted, first_seen, last_seen, delisted_seen
    )
    select
        coin, kind, dex, sz_decimals, max_leverage, is_delisted, %(seen_at)s, %(seen_at)s,
        case when is_delisted then %(seen_at)s::timestamptz end
    from offered
    order by coin
    on conflict (coin) do update
    set
        kind = excluded.kind, dex = excluded.dex, sz_decimals = excluded.sz_decimals,
        max_leverage = excluded.max_leverage, is_delisted = excluded.is_delisted,
        last_seen = greatest(market.last_seen, excluded.last_seen),
        delisted_seen = case
            when not excluded.is_delisted then null
            else coalesce(market.delisted_seen, excluded.delisted_seen)
        end
    returning market_id, coin
),

listed as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select written.market_id, %(seen_at)s, 'listed', null, written.coin
    from written
    where written.coin not in (select coin from before)
    returning market_id
)

select
    (select count(*) from written) as markets,
    (select count(*) from listed) as listed,
    (select count(*) from changed) as changed,
    (select count(*) from changed where attribute = 'is_delisted' and new_value = 'true') as delisted
