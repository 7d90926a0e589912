-- How does each series of the tracked markets stand: how much of what is due is settled or lost, when did its newest
-- closed candle close, is it over, and how far is it trusted?
with series_due as (
    select
        market.coin,
        series.series_id,
        series.interval,
        series.step,
        series.ended_at,
        tstzrange(
            least(coalesce(series.first_open, series.tracked_from), bounds.ends), bounds.ends
        )::tstzmultirange as due
    from hl.series
    join hl.market using (market_id)
    cross join lateral (
        select
            least(
                date_bin(
                    series.step, %(now)s::timestamptz - %(settle)s::interval, timestamptz '1970-01-01 00:00:00+00'
                ),
                series.ended_at
            ) as ends
    ) as bounds
    where market.tracked
),

-- A month that is due as a whole was counted when it was entered; only the first and the last are taken apart.
ledger as (
    select
        series_due.series_id,
        sum(counted.settled) as settled,
        sum(counted.lost) as lost
    from series_due
    join hl.coverage using (series_id)
    cross join lateral (
        select
            series_due.due @> tstzrange(
                coverage.month::timestamp at time zone 'UTC',
                (coverage.month + interval '1 month') at time zone 'UTC'
            ) as whole,
            extract(epoch from series_due.step)::bigint as seconds
    ) as month
    cross join lateral (
        select
            case
                when month.whole then (coverage.final_seconds + coverage.empty_seconds) / month.seconds
                else hl.slots_in((coverage.final + coverage.empty) * series_due.due, series_due.step)
            end as settled,
            case
                when month.whole then coverage.lost_seconds / month.seconds
                else hl.slots_in(coverage.lost * series_due.due, series_due.step)
            end as lost
    ) as counted
    group by series_due.series_id
)

select
    series_due.coin,
    series_due.interval,
    hl.epoch_ms(newest.open_time + series_due.step) as newest_close_ms,
    coalesce(series_due.ended_at <= %(now)s::timestamptz, false) as is_over,
    hl.slots_in(series_due.due, series_due.step)::bigint as due,
    coalesce(ledger.settled, 0)::bigint as settled,
    coalesce(ledger.lost, 0)::bigint as lost,
    trust.score,
    trust.grade
from series_due
left join ledger using (series_id)
left join lateral (
    select candle.open_time
    from hl.candle
    where
        candle.series_id = series_due.series_id
        and candle.open_time <= %(now)s::timestamptz - series_due.step
        and candle.finality <> 'o'
    order by candle.open_time desc
    limit 1
) as newest on true
left join lateral (
    select confidence.score, confidence.grade
    from hl.confidence
    where confidence.series_id = series_due.series_id
    order by confidence.scored_at desc
    limit 1
) as trust on true
order by series_due.coin, series_due.step
