-- What people query: every stored candle under its market's name, with words for the codes.
create or replace view hl.candles as
select
    market.coin,
    series.interval,
    candle.open_time,
    candle.open_time + series.step as close_time,
    candle.open,
    candle.high,
    candle.low,
    candle.close,
    candle.volume,
    candle.trades,
    case candle.finality when 'f' then 'final' when 'p' then 'provisional' else 'open' end as finality,
    case candle.source when 'r' then 'rest' when 's' then 'stream' when 'a' then 'archive' else 'derived' end as source,
    candle.trades = 0 and (candle.high > candle.low) as is_synthetic,
    candle.fetch_id,
    candle.series_id
from hl.candle
join hl.series using (series_id)
join hl.market using (market_id);
