-- Resolves as lost what dead letters of these coins wait for and the ledger expects no more; of how many letters?
with beyond as (
    select letter.series_id, range_agg(letter.waiting) - coalesce(dead.slots, '{}') as slots
    from hl.dead_letter as letter
    join hl.series using (series_id)
    join hl.market using (market_id)
    left join (
        select series_id, range_agg(slots) as slots from hl.gap where is_dead group by series_id
    ) as dead using (series_id)
    where letter.resolved_at is null and market.coin = any(%(coins)s::text[])
    group by letter.series_id, dead.slots
),

forgotten as (
    select hl.forget_failures(
        series_id, tstzmultirange(tstzrange(null, greatest(series.first_open, series.tracked_from)))
    )
    from hl.series
    join hl.market using (market_id)
    where market.coin = any(%(coins)s::text[])
)

select (select count(*) from forgotten) * 0 + coalesce(sum(hl.settle_dead_letters(series_id, slots, slots, %(now)s)), 0)
from beyond
where not isempty(slots)
