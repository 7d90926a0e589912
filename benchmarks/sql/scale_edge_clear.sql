-- Takes back everything from the slots on that were still open at the edge.
delete from hl.candle
using scale.series
where candle.series_id = series.series_id
    and candle.open_time + series.step > %(edge)s
    and candle.open_time >= %(edge)s::timestamptz - interval '1 day'
