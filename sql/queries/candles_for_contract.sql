-- The recent candles as the contract suite reads them: those of the last day, and at least the last 60 of each series.
-- Open ones included: they keep the same rules.
select
    market.coin,
    series.interval,
    candle.open_time,
    candle.open,
    candle.high,
    candle.low,
    candle.close,
    candle.volume,
    candle.trades
from hl.candle
join hl.series using (series_id)
join hl.market using (market_id)
where
    market.tracked
    and candle.open_time >= %(now)s::timestamptz - greatest(interval '1 day', 60 * series.step)
    and candle.open_time > %(now)s::timestamptz - interval '61 days'
order by market.coin, series.step, candle.open_time
