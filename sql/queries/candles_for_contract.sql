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
    candle.trades,
    candle.finality::text as finality
from hl.series
join hl.market using (market_id)
-- series by series, by the key's index: joined as a whole, the planner reads months to find a day
cross join lateral (
    select open_time, open, high, low, close, volume, trades, finality
    from hl.candle
    where
        series_id = series.series_id
        and open_time >= %(now)s::timestamptz - greatest(interval '1 day', 60 * series.step)
        and open_time > %(now)s::timestamptz - interval '61 days'
    offset 0
) as candle
where market.tracked
order by market.coin, series.step, candle.open_time
