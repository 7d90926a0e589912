-- At what market time was a candle last asked for? Null before the first request.
select hl.epoch_ms(max(last_asked_at)) from hl.series
