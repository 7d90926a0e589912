-- Of which intervals does a month hold candles?
select distinct series.interval
from hl.series
where exists (
    select from hl.candle
    where candle.series_id = series.series_id
        and candle.open_time >= %(month)s
        and candle.open_time < %(month)s::timestamptz + interval '1 month'
)
