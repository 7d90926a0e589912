-- How does a stretch of one series stand, cut into equal buckets, oldest first?
-- A bucket shows the worst that is in it: missing, lost, provisional, final, empty, or none where nothing is due.
with bounds as (
    select
        series.series_id,
        series.step,
        greatest(%(starts)s::timestamptz, coalesce(series.first_open, series.tracked_from)) as starts,
        least(
            %(ends)s::timestamptz,
            series.ended_at,
            date_bin(series.step, %(now)s::timestamptz - %(settle)s::interval, timestamptz '1970-01-01 00:00:00+00')
        ) as ends
    from hl.series
    join hl.market using (market_id)
    where market.coin = %(coin)s and series.interval = %(interval)s
),

ledger as (
    select
        bounds.series_id,
        range_agg(coverage.final) as final,
        range_agg(coverage.empty) as empty,
        range_agg(coverage.lost) as lost
    from bounds
    join hl.coverage using (series_id)
    where
        coverage.month >= date_trunc('month', %(starts)s::timestamptz)::date
        and coverage.month < %(ends)s::timestamptz
    group by bounds.series_id
),

waiting as (
    select bounds.series_id, range_agg(gap.slots) as provisional
    from bounds
    join hl.gap using (series_id)
    where gap.reason = 'provisional'
    group by bounds.series_id
),

buckets as (
    select
        number,
        %(starts)s::timestamptz + (%(ends)s::timestamptz - %(starts)s::timestamptz) * number / %(buckets)s as starts,
        %(starts)s::timestamptz + (%(ends)s::timestamptz - %(starts)s::timestamptz) * (number + 1) / %(buckets)s as ends
    from generate_series(0, %(buckets)s - 1) as number
),

facts as (
    select
        buckets.number,
        case
            when bounds.starts < bounds.ends then tstzmultirange(tstzrange(bounds.starts, bounds.ends))
            else '{}'
        end * tstzmultirange(tstzrange(buckets.starts, buckets.ends)) as due,
        coalesce(ledger.final, '{}') as final,
        coalesce(ledger.empty, '{}') as empty,
        coalesce(ledger.lost, '{}') as lost,
        coalesce(waiting.provisional, '{}') as provisional
    from bounds
    cross join buckets
    left join ledger using (series_id)
    left join waiting using (series_id)
)

select
    case
        when due = '{}' then 'none'
        when due - final - empty - lost - provisional <> '{}' then 'missing'
        when due && lost then 'lost'
        when due && provisional then 'provisional'
        when due && final then 'final'
        else 'empty'
    end as state
from facts
order by number
