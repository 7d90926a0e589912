-- Of the slots of tracked series that closed since an instant, and before another: how many were due, and how many are
-- settled or streamed and about to be confirmed?
with due as (
    select
        series.series_id,
        series.step,
        (series.slots * tstzrange(
            -- the first slot that closes after the instant
            date_bin(series.step, %(since)s::timestamptz, timestamptz '1970-01-01 00:00:00+00'),
            date_bin(series.step, %(until)s::timestamptz, timestamptz '1970-01-01 00:00:00+00')
        ))::tstzmultirange as slots
    from (
        select
            series_id,
            step,
            tstzrange(
                least(coalesce(first_open, tracked_from), coalesce(ended_at, 'infinity')), coalesce(ended_at, 'infinity')
            ) as slots
        from hl.series
        join hl.market using (market_id)
        where market.tracked
    ) as series
),

settled as (
    select due.series_id, sum(hl.slots_in((coverage.final + coverage.empty) * due.slots, due.step)) as slots
    from due
    join hl.coverage using (series_id)
    where coverage.month >= date_trunc('month', %(since)s::timestamptz at time zone 'UTC')
    group by due.series_id
),

provisional as (
    select due.series_id, sum(hl.slots_in(gap.slots::tstzmultirange * due.slots, due.step)) as slots
    from due
    join hl.gap using (series_id)
    where gap.reason = 'provisional' and gap.next_try > %(now)s::timestamptz
    group by due.series_id
)

select
    coalesce(sum(hl.slots_in(due.slots, due.step)), 0)::bigint as due,
    coalesce(sum(coalesce(settled.slots, 0) + coalesce(provisional.slots, 0)), 0)::bigint as here
from due
left join settled using (series_id)
left join provisional using (series_id)
