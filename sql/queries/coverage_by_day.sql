-- How does each market stand, UTC day by day, over all its intervals?
-- A day shows the worst that is in it: missing, lost, provisional, final, empty, or none where nothing is due; and how
-- many slots are due and settled. What came due less than the grace ago is not missing yet.
with bounds as (
    select
        market.coin,
        series.series_id,
        series.step,
        greatest(%(starts)s::timestamptz, coalesce(series.first_open, series.tracked_from)) as starts,
        least(
            series.ended_at,
            date_bin(
                series.step,
                %(now)s::timestamptz - %(settle)s::interval - %(grace)s::interval,
                timestamptz '1970-01-01 00:00:00+00'
            )
        ) as ends
    from hl.series
    join hl.market using (market_id)
    where market.tracked
),

days as (
    select day, day + interval '1 day' as next_day
    from generate_series(%(starts)s::timestamptz, %(now)s::timestamptz, interval '1 day') as day
),

waiting as (
    select series_id, range_agg(slots) as provisional
    from hl.gap
    where reason = 'provisional'
    group by series_id
),

facts as (
    select
        bounds.coin,
        bounds.step,
        days.day,
        tstzmultirange(tstzrange(greatest(bounds.starts, days.day), least(bounds.ends, days.next_day))) as due,
        coverage.final,
        coverage.empty,
        coverage.lost,
        coalesce(waiting.provisional, '{}') as provisional
    from bounds
    join days on bounds.starts < bounds.ends and bounds.starts < days.next_day and bounds.ends > days.day
    left join hl.coverage
        on coverage.series_id = bounds.series_id
        and coverage.month = date_trunc('month', days.day at time zone 'UTC')::date
    left join waiting on waiting.series_id = bounds.series_id
),

-- most days are whole; only the others are taken apart
judged as (
    select
        facts.coin,
        facts.day,
        hl.slots_in(facts.due, facts.step) as due,
        case
            when facts.final @> facts.due then hl.slots_in(facts.due, facts.step)
            else hl.slots_in(facts.due * (coalesce(facts.final, '{}') + coalesce(facts.empty, '{}')), facts.step)
        end as settled,
        case
            when facts.final @> facts.due then 'final'
            when facts.due - coalesce(facts.final, '{}') - coalesce(facts.empty, '{}')
                - coalesce(facts.lost, '{}') - facts.provisional <> '{}' then 'missing'
            when facts.due && facts.lost then 'lost'
            when facts.due && facts.provisional then 'provisional'
            when facts.due && facts.final then 'final'
            else 'empty'
        end as state
    from facts
)

select
    coins.coin,
    hl.epoch_ms(days.day) as day_ms,
    coalesce(
        (array_agg(
            judged.state
            order by array_position(array['missing', 'lost', 'provisional', 'final', 'empty'], judged.state)
        ) filter (where judged.state is not null))[1],
        'none'
    ) as state,
    coalesce(sum(judged.due), 0)::bigint as due,
    coalesce(sum(judged.settled), 0)::bigint as settled
from (select distinct coin from bounds) as coins
cross join days
left join judged on judged.coin = coins.coin and judged.day = days.day
group by coins.coin, days.day
order by coins.coin, days.day
