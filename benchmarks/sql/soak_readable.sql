-- Which closed 1m candles with trades can be read now, of those that opened since %(since)s?
select candle.series_id, hl.epoch_ms(candle.open_time)
from hl.candle
where candle.series_id = any(%(series_ids)s::integer[])
    and candle.open_time >= %(since)s
    and candle.finality in ('p', 'f')
    and candle.trades > 0
