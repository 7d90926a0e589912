-- Which candles of a window were known of a series at an instant, oldest first, column by column?
select
    coalesce(array_agg(hl.epoch_ms(open_time)), '{}') as open_ms,
    coalesce(array_agg(open::text), '{}') as open,
    coalesce(array_agg(high::text), '{}') as high,
    coalesce(array_agg(low::text), '{}') as low,
    coalesce(array_agg(close::text), '{}') as close,
    coalesce(array_agg(volume::text), '{}') as volume,
    coalesce(array_agg(trades), '{}') as trades,
    coalesce(array_agg(finality), '{}') as finality,
    coalesce(array_agg(source), '{}') as source
from (
    select *
    from hl.candles_asof(%(coin)s, %(interval)s, %(starts)s, %(ends)s, %(known_at)s)
    order by open_time
) as candle
