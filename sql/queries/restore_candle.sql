-- Puts a file's candles back where none stands, and takes them out of the slots that were exported; how many were put
-- back, and how many stand in the table now?
with incoming as materialized (
    select series.series_id, series.step, timestamptz 'epoch' + staged.open_time * interval '1 ms' as open_at, staged.*
    from pg_temp.staging_restore_candle as staged
    join hl.market using (coin)
    join hl.series using (market_id)
    where series.interval = %(interval)s
),

written as (
    insert into hl.candle (
        series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select series_id, open_at, open, high, low, close, volume, trades, fetch_id, source, finality
    from incoming
    order by series_id, open_at
    on conflict (series_id, open_time) do nothing
    returning series_id
),

back as materialized (
    select series_id, range_agg(tstzrange(open_at, open_at + step)) as slots
    from incoming
    where finality = 'f'
    group by series_id
),

emptied as (
    delete from hl.exported_slots as known
    using back
    where known.series_id = back.series_id and known.month = %(month)s and isempty(known.slots - back.slots)
),

shortened as (
    update hl.exported_slots as known
    set slots = known.slots - back.slots
    from back
    where known.series_id = back.series_id
        and known.month = %(month)s
        and known.slots && back.slots
        and not isempty(known.slots - back.slots)
)

select (select count(*) from written), (select count(*) from incoming)
