-- Collects exactly the chosen markets from now on, and writes down each that begins or ends.
with chosen as (
    select market.market_id, market.coin, market.tracked as was_tracked, market.tracked_by as was_by, choice.*
    from unnest(
        %(coins)s::text[], %(ranks)s::integer[], %(tracked_by)s::text[], %(outside_since)s::timestamptz[]
    ) as choice (name, volume_rank, tracked_by, outside_since)
    join hl.market on market.coin = choice.name
),

written as (
    update hl.market
    set
        tracked = chosen.tracked_by is not null, tracked_by = chosen.tracked_by,
        volume_rank = chosen.volume_rank, outside_since = chosen.outside_since
    from chosen
    where
        market.market_id = chosen.market_id
        and (market.tracked, market.tracked_by, market.volume_rank, market.outside_since)
        is distinct from (
            chosen.tracked_by is not null, chosen.tracked_by, chosen.volume_rank, chosen.outside_since
        )
),

noted as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select market_id, %(seen_at)s, 'tracked_by', was_by, tracked_by
    from chosen
    where was_by is distinct from tracked_by
    on conflict do nothing
)

select
    array(select coin from chosen where tracked_by is not null and not was_tracked order by coin) as begun,
    array(select coin from chosen where tracked_by is null and was_tracked order by coin) as ended
