-- How complete is each interval at an instant, over the series of tracked markets?
-- Due are the slots expected and closed for at least the settle time; what is due and neither final, empty nor lost is
-- provisional while its confirmation is yet to come, and otherwise a gap. newest_close is when the newest closed candle of any of these series closed: it grows old when data stops
-- flowing, and does not when one quiet market has no trades.
with series_due as (
    select
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
        coalesce(sum(counted.final), 0) as final,
        coalesce(sum(counted.empty), 0) as empty,
        coalesce(sum(counted.lost), 0) as lost
    from series_due
    left join hl.coverage using (series_id)
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
                when month.whole then coverage.final_seconds / month.seconds
                else hl.slots_in(coverage.final * series_due.due, series_due.step)
            end as final,
            case
                when month.whole then coverage.empty_seconds / month.seconds
                else hl.slots_in(coverage.empty * series_due.due, series_due.step)
            end as empty,
            case
                when month.whole then coverage.lost_seconds / month.seconds
                else hl.slots_in(coverage.lost * series_due.due, series_due.step)
            end as lost
    ) as counted
    group by series_due.series_id
),

provisional as (
    select
        series_due.series_id,
        sum(hl.slots_in(series_due.due * gap.slots::tstzmultirange, series_due.step))::bigint as slots
    from series_due
    join hl.gap using (series_id)
    where gap.reason = 'provisional' and gap.next_try > %(now)s::timestamptz
    group by series_due.series_id
),

newest as (
    select series_due.series_id, row.open_time + series_due.step as closed_at
    from series_due
    cross join lateral (
        select candle.open_time
        from hl.candle
        where
            candle.series_id = series_due.series_id
            and candle.open_time <= %(now)s::timestamptz - series_due.step
            and candle.finality <> 'o'
        order by candle.open_time desc
        limit 1
    ) as row
)

select
    series_due.interval,
    count(*) as series,
    sum(hl.slots_in(series_due.due, series_due.step))::bigint as due,
    sum(ledger.final)::bigint as final,
    sum(ledger.empty)::bigint as empty,
    sum(ledger.lost)::bigint as lost,
    hl.epoch_ms(max(newest.closed_at)) as newest_close_ms,
    coalesce(sum(provisional.slots), 0)::bigint as provisional
from series_due
join ledger using (series_id)
left join provisional using (series_id)
left join newest using (series_id)
group by series_due.interval
order by min(series_due.step)
