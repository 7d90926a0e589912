-- How many candles of the newest month are stored, and how many break the contract that no constraint can state:
-- on the interval's grid, no volume without trades and none lost from trades, nothing closed before it could close?
select
    count(*) as candles,
    count(*) filter (
        where candle.open_time <> date_bin(series.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00')
        or (candle.trades > 0 and candle.volume = 0)
        or (candle.finality = 'f' and candle.open_time + series.step > %(now)s::timestamptz)
    ) as broken
from hl.candle
join hl.series using (series_id)
where candle.open_time >= date_trunc('month', %(now)s::timestamptz)
