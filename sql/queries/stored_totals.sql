-- How much is stored: final candles (less those exported and dropped) and series by the ledger, about how many candles in all, revisions?
-- Counting the candles themselves would read every one of them, each hour. The planner's figure stands for them; a
-- partition never analysed counts as none there, so at least the final ones are said.
with ledger as (
    select
        coalesce(sum(hl.slots_in(held.final, series.step)), 0)::bigint as final,
        count(distinct coverage.series_id) filter (where held.final <> '{}') as series
    from hl.coverage
    join hl.series using (series_id)
    left join hl.exported_slots as exported using (series_id, month)
    cross join lateral (select coverage.final - coalesce(exported.slots, '{}') as final) as held
),

planner as (
    select coalesce(sum(greatest(pg_class.reltuples, 0)), 0)::bigint as candles
    from pg_inherits
    join pg_class on pg_class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'hl.candle'::regclass
)

select
    greatest(planner.candles, ledger.final) as candles,
    ledger.final,
    ledger.series,
    (select count(*) from hl.candle_revision) as revisions
from ledger
cross join planner
