-- Every candle of an interval that closed by %(until)s, as it stands, and when its row was asked for.
select
    market.coin, hl.epoch_ms(candle.open_time), candle.open::text, candle.high::text, candle.low::text,
    candle.close::text, candle.volume::text, candle.trades, candle.finality::text, hl.epoch_ms(asked.asked_at)
from hl.candle
join hl.series using (series_id)
join hl.market using (market_id)
left join hl.fetch as asked on asked.fetch_id = candle.fetch_id
where series.interval = %(interval)s and candle.open_time + series.step <= %(until)s
order by market.coin, candle.open_time
