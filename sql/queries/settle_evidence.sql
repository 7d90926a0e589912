-- Of the candles that closed in each of the last periods: how many have been read by REST after their close, and how old
-- was each that another read changed when it was read with the value that did not last?
-- Of each market the finest series alone, for the larger ones are made from it. The value that was replaced was last
-- written by fetch_id; that it was confirmed in between is not recorded, so an age is at least what is told. The newest
-- period ends with now, included, and comes first; one in which nothing closed has no row.
with finest as (
    select distinct on (series.market_id) series.series_id, series.step
    from hl.series
    join hl.market using (market_id)
    where market.tracked and series.ended_at is null
    order by series.market_id, series.step
),

closed as (
    select
        date_bin(%(period)s, candle.open_time + finest.step - interval '1 microsecond', %(now)s) as period,
        count(*) as rows
    from finest
    cross join lateral (
        select open_time
        from hl.candle
        where
            series_id = finest.series_id
            and open_time > %(now)s::timestamptz - %(reach)s::interval - finest.step
            and open_time <= %(now)s::timestamptz - finest.step
            and source = 'r'
            and finality <> 'o'
    ) as candle
    group by 1
),

changed as (
    select
        date_bin(%(period)s, revision.open_time + finest.step - interval '1 microsecond', %(now)s) as period,
        array_agg(hl.epoch_ms(revision.asked_at) - hl.epoch_ms(revision.open_time + finest.step)) as ages_ms
    from finest
    cross join lateral (
        select open_time, (select came.asked_at from hl.fetch as came where came.fetch_id = revised.fetch_id) as asked_at
        from hl.candle_revision as revised
        where
            series_id = finest.series_id
            and open_time > %(now)s::timestamptz - %(reach)s::interval - finest.step
            and open_time <= %(now)s::timestamptz - finest.step
            and replaced_at <= %(now)s
            and source = 'r'
    ) as revision
    group by 1
)

select rows, coalesce(ages_ms, '{}') as ages_ms
from closed
left join changed using (period)
order by period desc
