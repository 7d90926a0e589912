-- When did the newest closed candle of each interval close, in the listed series that is furthest behind?
-- Delisted and ended series do not count: nothing new is expected of them.
select
    series.interval,
    count(*) as series,
    hl.epoch_ms(min(newest.open_time + series.step)) as newest_close_ms,
    (array_agg(market.coin order by newest.open_time) filter (where newest.open_time is not null))[1] as stalest,
    count(*) filter (where newest.open_time is null) as without_candle
from hl.series
join hl.market using (market_id)
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
group by series.interval
order by min(series.step)
