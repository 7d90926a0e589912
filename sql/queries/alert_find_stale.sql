-- In which listed, tracked markets is the newest closed candle of an interval older than its bound, in seconds? The
-- interval furthest beyond its bound speaks for a market. A series in which nothing has landed yet is no finding.
with bound as (
    select * from unnest(%(intervals)s::text[], %(bounds)s::float8[]) as given(interval, bound_s)
),

aged as (
    select
        market.coin, series.interval, bound.bound_s,
        extract(epoch from %(now)s::timestamptz - newest.open_time - series.step)::float8 as age_s
    from hl.series
    join hl.market using (market_id)
    join bound using (interval)
    cross join lateral (
        select candle.open_time
        from hl.candle
        where
            candle.series_id = series.series_id
            and candle.open_time <= %(now)s::timestamptz - series.step
            and candle.finality <> 'o'
        order by candle.open_time desc
        limit 1
    ) as newest
    where market.tracked and not market.is_delisted and series.ended_at is null
)

select distinct on (coin) coin, interval, age_s, bound_s
from aged
where age_s > bound_s
order by coin, age_s / bound_s desc
