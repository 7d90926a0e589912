-- How many candles of the last two days are stored, and how many break what no constraint states:
-- on the interval's grid, volume where there were trades, and none final before it closed?
-- Found by their time (hl.candle_open_time), so that a month of candles is not read each minute.
select count(*) as candles, count(*) filter (where recent.broken) as broken
from hl.series
cross join lateral (
    select
        candle.open_time <> date_bin(series.step, candle.open_time, timestamptz '1970-01-01 00:00:00+00')
        or (candle.trades > 0 and candle.volume = 0)
        or (candle.finality = 'f' and candle.open_time + series.step > %(now)s::timestamptz) as broken
    from hl.candle
    where
        candle.series_id = series.series_id
        and candle.open_time >= %(now)s::timestamptz - interval '2 days'
) as recent
