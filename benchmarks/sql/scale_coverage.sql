-- The ledger of the months from since to the edge: every slot that closed is final, empty, lost or a gap.
with month as (
    select starts
    from generate_series(
        date_trunc('month', %(since)s::timestamptz), %(edge)s::timestamptz - interval '1 microsecond', interval '1 month'
    ) as starts
),

span as (
    select
        series.*,
        month.starts,
        tstzmultirange(
            tstzrange(
                month.starts,
                least(
                    month.starts + interval '1 month',
                    date_bin(series.step, %(edge)s, timestamptz '1970-01-01 00:00:00+00')
                )
            )
        ) as slots
    from scale.series
    cross join month
),

quiet as (
    select series.series_id, month.starts, range_agg(tstzrange(minute.at, minute.at + interval '1 minute')) as slots
    from month
    cross join lateral generate_series(
        month.starts, month.starts + interval '1 month' - interval '1 day', interval '1 day'
    ) as date (midnight)
    join scale.series on series.minutes = 1
    join scale.quiet_minute
        on quiet_minute.template = series.template
        and quiet_minute.day = ((extract(epoch from date.midnight) / 86400)::integer + series.shift) %% 30
    cross join lateral (select date.midnight + quiet_minute.at_minute * interval '1 minute' as at) as minute
    group by series.series_id, month.starts
),

missing as (
    select
        series.series_id,
        coalesce(range_agg(hole.slots) filter (where hole.is_lost), '{}') as lost,
        coalesce(range_agg(hole.slots) filter (where not hole.is_lost), '{}') as gap
    from scale.series
    join scale.hole using (market_id)
    where series.minutes = 1
    group by series.series_id
),

facts as (
    select
        span.series_id,
        span.starts,
        span.slots,
        coalesce(missing.lost, '{}') as lost,
        coalesce(missing.gap, '{}') as gap,
        coalesce(quiet.slots, '{}') - coalesce(missing.lost, '{}') - coalesce(missing.gap, '{}') as empty
    from span
    left join quiet using (series_id, starts)
    left join missing using (series_id)
)

insert into hl.coverage (series_id, month, final, empty, lost)
select series_id, starts::date, slots - empty - lost - gap, slots * empty, slots * lost
from facts
on conflict (series_id, month) do update
set final = excluded.final, empty = excluded.empty, lost = excluded.lost
