-- Which candles does a series hold in a window, oldest first, exactly as stored, column by column?
select
    coalesce(array_agg(hl.epoch_ms(open_time)), '{}') as open_ms,
    coalesce(array_agg(open::text), '{}') as open,
    coalesce(array_agg(high::text), '{}') as high,
    coalesce(array_agg(low::text), '{}') as low,
    coalesce(array_agg(close::text), '{}') as close,
    coalesce(array_agg(volume::text), '{}') as volume,
    coalesce(array_agg(trades), '{}') as trades,
    coalesce(
        array_agg(case finality when 'f' then 'final' when 'p' then 'provisional' else 'open' end), '{}'
    ) as finality,
    coalesce(
        array_agg(case source when 'r' then 'rest' when 's' then 'stream' when 'a' then 'archive' else 'derived' end), '{}'
    ) as source
from (
    select *
    from hl.candle
    where series_id = %(series_id)s and open_time >= %(starts)s and open_time < %(ends)s
    order by open_time
) as candle
