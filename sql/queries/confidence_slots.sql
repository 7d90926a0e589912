-- What is stored of each tracked series in its window of closed, due slots?
-- The window is 24 h for 1m to 15m, else 60 slots but at most 30 days; it begins no earlier than the series and
-- ends where the series ended. A slot is due when it closed at least the settle time ago. Missing is what is
-- neither stored nor verified empty: a candle last read while it was open is not what its slot closed with, and a larger
-- candle that was made while one of its minutes had not come is only a preview. A run of missing slots that reaches the end is the head. Revised are candles that
-- were called final and then changed.
with series_window as (
    select
        series.series_id,
        market.coin,
        series.interval,
        series.step,
        market.market_id,
        series.ended_at is not null or market.is_delisted as ended,
        greatest(bounds.ends - bounds.length, coalesce(series.first_open, series.tracked_from)) as starts,
        bounds.ends
    from hl.series
    join hl.market using (market_id)
    cross join lateral (
        select
            least(
                date_bin(series.step, %(now)s::timestamptz - %(settle)s::interval, timestamptz '1970-01-01 00:00:00+00'),
                series.ended_at
            ) as ends,
            case
                when series.step <= interval '15 minutes' then interval '24 hours'
                else least(60 * series.step, interval '30 days')
            end as length
    ) as bounds
    where market.tracked
),

-- Asked series by series: the key's index finds the rows and partitions outside the window are not opened, even
-- for a series that ended long ago.
stored as (
    select series_window.series_id, held.*
    from series_window
    cross join lateral (
        select
            count(*) filter (where candle.counts) as present,
            count(*) filter (where not candle.counts) as open,
            count(*) filter (where candle.finality = 'f' and candle.source = 'r') as final,
            count(*) filter (where candle.source = 'a') as archive,
            count(*) filter (where candle.counts and candle.source = 'd') as derived,
            count(*) filter (where candle.finality = 'p' and candle.source in ('r', 's')) as stream,
            count(*) filter (where candle.trades > 0 and candle.volume = 0) as bad,
            range_agg(tstzrange(candle.open_time, candle.open_time + series_window.step))
            filter (where candle.counts) as slots
        from (
            select
                candle.*,
                candle.finality <> 'o'
                and not (
                    candle.finality = 'p' and candle.source = 'd'
                    and exists (
                        select from hl.series as base
                        join hl.gap using (series_id)
                        where base.market_id = series_window.market_id
                            and base.interval = '1m'
                            and gap.reason <> 'provisional'
                            and gap.slots && tstzrange(candle.open_time, candle.open_time + series_window.step)
                    )
                ) as counts
            from hl.candle
            where
                candle.series_id = series_window.series_id
                and candle.open_time >= series_window.starts
                and candle.open_time < series_window.ends
        ) as candle
    ) as held
),

verified as (
    select coverage.series_id, range_agg(coverage.empty) as empty
    from series_window
    join hl.coverage
        on coverage.series_id = series_window.series_id
        and coverage.month >= (series_window.starts - interval '1 month')::date
        and coverage.month <= series_window.ends::date
    group by coverage.series_id
),

revised as (
    select series_window.series_id, count(distinct candle_revision.open_time) as slots
    from series_window
    join hl.candle_revision
        on candle_revision.series_id = series_window.series_id
        and candle_revision.open_time >= series_window.starts
        and candle_revision.open_time < series_window.ends
        and candle_revision.finality = 'f'
    group by series_window.series_id
),

slots as (
    select
        series_window.*,
        stored.present,
        stored.final,
        stored.archive,
        stored.derived,
        stored.stream,
        stored.open,
        stored.bad,
        coalesce(revised.slots, 0) as revised,
        due.due,
        coalesce(verified.empty, '{}') * due.due - coalesce(stored.slots, '{}') as empty,
        due.due - coalesce(stored.slots, '{}') - coalesce(verified.empty, '{}') as missing
    from series_window
    left join stored using (series_id)
    left join verified using (series_id)
    left join revised using (series_id)
    cross join lateral (
        select tstzmultirange(tstzrange(least(series_window.starts, series_window.ends), series_window.ends)) as due
    ) as due
)

select
    slots.series_id,
    slots.coin,
    slots.interval,
    hl.slots_in(slots.due, slots.step) as expected,
    coalesce(slots.present, 0) as present,
    hl.slots_in(slots.empty, slots.step) as empty,
    greatest(runs.at_head, runs.longest_inside) as longest_missing,
    runs.at_head as missing_at_head,
    runs.longest_inside as longest_missing_inside,
    coalesce(refused.slots, 0) as missing_rejected,
    extract(epoch from %(now)s::timestamptz - newest.closed_at)::double precision as age_s,
    slots.ended,
    coalesce(slots.bad, 0) as bad,
    coalesce(slots.final, 0) as final,
    coalesce(slots.archive, 0) as archive,
    coalesce(slots.derived, 0) as derived,
    coalesce(slots.stream, 0) as stream,
    coalesce(slots.open, 0) as open,
    slots.revised,
    (abs(newest.close - quoted.mark_price) / quoted.mark_price)::double precision as mark_distance
from slots
cross join lateral (
    select
        coalesce(max(run.slots) filter (where run.ends >= slots.ends), 0)::integer as at_head,
        coalesce(max(run.slots) filter (where run.ends < slots.ends), 0)::integer as longest_inside
    from (
        select
            upper(missing) as ends,
            round(extract(epoch from upper(missing) - lower(missing)) / extract(epoch from slots.step)) as slots
        from unnest(slots.missing) as missing
    ) as run
) as runs
left join lateral (
    select sum(hl.slots_in(slots.missing * tstzmultirange(gap.slots), slots.step))::integer as slots
    from hl.gap
    where gap.series_id = slots.series_id and gap.reason = 'rejected'
) as refused on true
left join lateral (
    select candle.open_time + slots.step as closed_at, candle.close
    from hl.candle
    where
        candle.series_id = slots.series_id
        and candle.open_time <= %(now)s::timestamptz - slots.step
        and candle.finality <> 'o'
    order by candle.open_time desc
    limit 1
) as newest on true
-- a close can only be held against a mark price of about the same minute
left join lateral (
    select market_context.mark_price
    from hl.market_context
    where
        market_context.market_id = slots.market_id
        and market_context.seen_at >= newest.closed_at - interval '5 minutes'
        and market_context.seen_at <= newest.closed_at + interval '5 minutes'
        and market_context.seen_at <= %(now)s::timestamptz
        and market_context.seen_at >= %(now)s::timestamptz - interval '1 day'
    order by market_context.seen_at desc
    limit 1
) as quoted on true
order by slots.series_id
