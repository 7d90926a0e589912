-- Brings the markets up to date with what the exchange says, and writes down every attribute that changed.
-- A market of an asked universe that is not offered is absent, not delisted; one that stands where an entry could not
-- be read may be that entry. A market never seen before at the place of one that is gone is its new name: both stay
-- markets of their own.
with offered as (
    select *
    from jsonb_to_recordset(%(markets)s) as offered (
        coin text, kind text, dex text, sz_decimals smallint, max_leverage integer, is_delisted boolean,
        universe_index integer
    )
),

before as (
    select market.* from hl.market join offered using (coin)
),

gone as (
    select market.*
    from hl.market
    where
        market.absent_since is null
        and market.last_seen < %(seen_at)s
        and case market.kind when 'spot' then %(spot)s::boolean else market.dex = any(%(dexes)s::text[]) end
        and market.coin not in (select coin from offered)
        and coalesce(not market.universe_index = any(%(unreadable)s::integer[]), true)
),

missing as (
    update hl.market
    set absent_since = %(seen_at)s
    where market_id in (select market_id from gone)
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
            ('is_delisted', before.is_delisted::text, offered.is_delisted::text),
            ('is_absent', (before.absent_since is not null)::text, 'false')
    ) as attribute (attribute, old_value, new_value)
    where old_value is distinct from new_value
    union all
    select market_id, %(seen_at)s, 'is_absent', 'false', 'true' from gone
    on conflict do nothing
    returning market_id, attribute, new_value
),

written as (
    insert into hl.market as market (
        coin, kind, dex, sz_decimals, max_leverage, is_delisted, universe_index, first_seen, last_seen, delisted_seen
    )
    select
        coin, kind, dex, sz_decimals, max_leverage, is_delisted, universe_index, %(seen_at)s, %(seen_at)s,
        case when is_delisted then %(seen_at)s::timestamptz end
    from offered
    order by coin
    on conflict (coin) do update
    set
        kind = excluded.kind, dex = excluded.dex, sz_decimals = excluded.sz_decimals,
        max_leverage = excluded.max_leverage, is_delisted = excluded.is_delisted,
        universe_index = coalesce(excluded.universe_index, market.universe_index),
        absent_since = null,
        last_seen = greatest(market.last_seen, excluded.last_seen),
        delisted_seen = case
            when not excluded.is_delisted then null
            else coalesce(market.delisted_seen, excluded.delisted_seen)
        end
    returning market_id, coin, kind, dex, universe_index
),

listed as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select written.market_id, %(seen_at)s, 'listed', null, written.coin
    from written
    where written.coin not in (select coin from before)
    returning market_id
),

renamed as (
    select gone.market_id as old_id, gone.coin as old_coin, written.market_id as new_id, written.coin as new_coin
    from written
    join listed using (market_id)
    join gone using (kind, dex, universe_index)
),

renames as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select old_id, %(seen_at)s, 'renamed_to', old_coin, new_coin from renamed
    union all
    select new_id, %(seen_at)s, 'renamed_from', old_coin, new_coin from renamed
)

select
    (select count(*) from written) as markets,
    (select count(*) from changed) as changed,
    exists (select from before) as knew_some,
    array(select coin from written join listed using (market_id) order by coin) as listed,
    array(
        select coin from written join changed using (market_id)
        where attribute = 'is_delisted' and new_value = 'true' order by coin
    ) as delisted,
    (
        select coalesce(jsonb_object_agg(before.coin, hl.epoch_ms(before.last_seen)), '{}')
        from before join changed using (market_id)
        where attribute = 'is_delisted' and new_value = 'false'
    ) as relisted,
    array(select coin from gone order by coin) as absent,
    array(
        select coin from written join changed using (market_id) where attribute = 'is_absent' order by coin
    ) as returned,
    array(select old_coin || ' to ' || new_coin from renamed order by old_coin) as renamed
