-- How complete is each interval at an instant, over the series of tracked markets?
-- What is due and neither final, empty nor lost is provisional while its confirmation is yet to come, and otherwise a
-- gap. newest_close is when the newest closed candle of any of these series closed: it grows old when data stops
-- flowing, and does not when one quiet market has no trades.
with standing as (
    select * from hl.due_and_settled(%(now)s, %(settle)s)
),

provisional as (
    select
        standing.series_id,
        sum(hl.slots_in(standing.due * gap.slots::tstzmultirange, standing.step))::bigint as slots
    from standing
    join hl.gap using (series_id)
    where gap.reason = 'provisional' and gap.next_try > %(now)s::timestamptz
    group by standing.series_id
),

newest as (
    select standing.series_id, row.open_time + standing.step as closed_at
    from standing
    cross join lateral (
        select candle.open_time
        from hl.candle
        where
            candle.series_id = standing.series_id
            and candle.open_time <= %(now)s::timestamptz - standing.step
            and candle.finality <> 'o'
        order by candle.open_time desc
        limit 1
    ) as row
)

select
    standing.interval,
    count(*) as series,
    sum(hl.slots_in(standing.due, standing.step))::bigint as due,
    sum(standing.final)::bigint as final,
    sum(standing.empty)::bigint as empty,
    sum(standing.lost)::bigint as lost,
    hl.epoch_ms(max(newest.closed_at)) as newest_close_ms,
    coalesce(sum(provisional.slots), 0)::bigint as provisional
from standing
left join provisional using (series_id)
left join newest using (series_id)
group by standing.interval
order by min(standing.step)
