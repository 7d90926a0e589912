-- The newest candles of one series, oldest first, exactly as stored; the open one among them.
select open_ms, open, high, low, close, volume, trades
from (
    select
        hl.epoch_ms(candle.open_time) as open_ms,
        candle.open::text,
        candle.high::text,
        candle.low::text,
        candle.close::text,
        candle.volume::text,
        candle.trades
    from hl.candle
    join hl.series using (series_id)
    join hl.market using (market_id)
    where market.coin = %(coin)s and series.interval = %(interval)s and candle.open_time < %(before)s
    order by candle.open_time desc
    limit %(newest)s
) as newest
order by open_ms
