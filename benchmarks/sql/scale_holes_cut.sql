-- No candle stands in a hole.
delete from hl.candle
using scale.hole, scale.series
where series.market_id = hole.market_id
    and series.minutes = 1
    and candle.series_id = series.series_id
    and candle.open_time >= lower(hole.slots)
    and candle.open_time < upper(hole.slots)
    and candle.open_time >= %(since)s
    and candle.open_time < %(edge)s
