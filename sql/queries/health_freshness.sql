-- When did the newest closed candle of each interval close, in the listed series that is furthest behind?
-- Delisted and ended series do not count: nothing new is expected of them. Of a market so young that none has
-- closed yet, its first slot counts as if the one before had closed.
with begun as (
    select series.market_id, min(series.first_open) as begun_at
    from hl.series
    group by series.market_id
),

standing as (
    select
        series.interval,
        series.step,
        market.coin,
        coalesce(
            newest.open_time + series.step,
            series.first_open,
            date_bin(series.step, begun.begun_at, timestamptz 'epoch')
        ) as newest_close
    from hl.series
    join hl.market using (market_id)
    join begun using (market_id)
    left join lateral (
        select candle.open_time
        from hl.candle
        where
            candle.series_id = series.series_id
            and candle.open_time <= %(now)s::timestamptz - series.step
            and candle.finality <> 'o'
        order by candle.open_time desc
        limit 1
    ) as newest on true
    where market.tracked and not market.is_delisted and series.ended_at is null
)

select
    interval,
    count(*) as series,
    hl.epoch_ms(min(newest_close)) as newest_close_ms,
    (array_agg(coin order by newest_close) filter (where newest_close is not null))[1] as stalest,
    count(*) filter (where newest_close is null) as without_candle
from standing
group by interval
order by min(step)
