-- Of the candles that closed in each of the last periods: how many have been read by REST after their close, and how old
-- was each that another read changed when it was read with the value that did not last?
-- Of each market the finest series alone, for the larger ones are made from it. The value that was replaced was last
-- written by fetch_id; that it was confirmed in between is not recorded, so an age is at least what is told. Periods end
-- at now, the newest is number 0; one in which nothing closed has no row.
with finest as (
    select distinct on (series.market_id) series.series_id, series.step
    from hl.series
    join hl.market using (market_id)
    where market.tracked and series.ended_at is null
    order by series.market_id, series.step
),

closed as (
    select
        floor(extract(epoch from %(now)s::timestamptz - candle.open_time - finest.step) / %(period_s)s)::integer as period,
        count(*) as rows
    from finest
    cross join lateral (
        select open_time
        from hl.candle
        where
            series_id = finest.series_id
            and open_time > %(now)s::timestamptz - finest.step - %(periods)s * %(period_s)s * interval '1 second'
            and open_time <= %(now)s::timestamptz - finest.step
            and source = 'r'
            and finality <> 'o'
    ) as candle
    group by 1
),

changed as (
    select
        floor(extract(epoch from %(now)s::timestamptz - revision.open_time - finest.step) / %(period_s)s)::integer as period,
        array_agg(round(1000 * extract(epoch from came.asked_at - revision.open_time - finest.step))::bigint) as ages_ms
    from finest
    cross join lateral (
        select open_time, fetch_id
        from hl.candle_revision
        where
            series_id = finest.series_id
            and open_time > %(now)s::timestamptz - finest.step - %(periods)s * %(period_s)s * interval '1 second'
            and open_time <= %(now)s::timestamptz - finest.step
            and replaced_at <= %(now)s
            and source = 'r'
    ) as revision
    join hl.fetch as came on came.fetch_id = revision.fetch_id
    group by 1
)

select period, rows, coalesce(ages_ms, '{}') as ages_ms
from closed
left join changed using (period)
order by period
