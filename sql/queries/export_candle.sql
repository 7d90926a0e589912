-- Which candles does one interval hold in a month, as they go into a file? By series and time, so that like lies by like.
-- scales: digits behind the point of open, high, low, close, volume; a file's decimals all have the same number.
copy (
    select
        market.coin, hl.epoch_ms(candle.open_time) as open_time,
        candle.open, candle.high, candle.low, candle.close, candle.volume,
        concat_ws(
            ',', scale(candle.open), scale(candle.high), scale(candle.low), scale(candle.close), scale(candle.volume)
        ) as scales,
        candle.trades, candle.finality, candle.source, candle.fetch_id,
        hl.epoch_ms(answer.asked_at) as asked_at
    from hl.candle
    join hl.series using (series_id)
    join hl.market using (market_id)
    left join hl.fetch as answer on answer.fetch_id = candle.fetch_id
    where series.interval = %(interval)s
        and candle.open_time >= %(starts)s
        and candle.open_time < %(ends)s
    order by candle.series_id, candle.open_time
) to stdout (format csv, header)
