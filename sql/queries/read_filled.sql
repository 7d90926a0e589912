-- Which candles does a series hold in a window, oldest first, column by column, with a flat one for each slot that is
-- proven empty? Those have no finality.
select
    coalesce(array_agg(hl.epoch_ms(open_time)), '{}') as open_ms,
    coalesce(array_agg(open::text), '{}') as open,
    coalesce(array_agg(high::text), '{}') as high,
    coalesce(array_agg(low::text), '{}') as low,
    coalesce(array_agg(close::text), '{}') as close,
    coalesce(array_agg(volume::text), '{}') as volume,
    coalesce(array_agg(trades), '{}') as trades,
    coalesce(array_agg(finality), '{}') as finality,
    coalesce(array_agg(case when filled then 'filled' else source end), '{}') as source
from (
    select *
    from hl.candles_filled(%(coin)s, %(interval)s, %(starts)s, %(ends)s, 'empty')
    order by open_time
) as candle
