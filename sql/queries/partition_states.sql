-- How settled is each (market, month) of one interval at an instant, and what does it hold?
-- Due are the slots of the month that are expected and closed for at least the settle time. A gap is due and neither
-- final, empty nor lost. The hash covers the values of the final rows in their order, so equal content gives equal
-- hashes in any database. A market without the series, or a month outside what is expected, has due = 0.
with wanted as (
    select market.coin, month::date as month, month as starts, month + interval '1 month' as ends
    from hl.market
    cross join unnest(%(months)s::timestamptz[]) as month
    where market.coin = any(%(coins)s::text[])
),

due as (
    select
        wanted.*,
        series.series_id,
        series.step,
        coalesce(series.ended_at <= wanted.ends, false) as has_ended,
        case
            when bounds.starts < bounds.ends then tstzmultirange(tstzrange(bounds.starts, bounds.ends))
            else '{}'
        end as slots
    from wanted
    join hl.market using (coin)
    left join hl.series on series.market_id = market.market_id and series.interval = %(interval)s
    left join lateral (
        select
            greatest(wanted.starts, coalesce(series.first_open, series.tracked_from)) as starts,
            least(
                wanted.ends,
                series.ended_at,
                case when not market.tracked then series.known_until end,
                date_bin(
                    series.step, %(now)s::timestamptz - %(settle)s::interval, timestamptz '1970-01-01 00:00:00+00'
                )
            ) as ends
    ) as bounds on series.series_id is not null
)

select
    due.coin,
    hl.epoch_ms(due.starts) as month_ms,
    coalesce(hl.slots_in(due.slots, due.step), 0) as due,
    coalesce(hl.slots_in(due.slots * coverage.final, due.step), 0) as final,
    coalesce(hl.slots_in(due.slots * coverage.empty, due.step), 0) as empty,
    coalesce(hl.slots_in(due.slots * coverage.lost, due.step), 0) as lost,
    coalesce(content.rows, 0) as rows,
    content.hash,
    coalesce(revised.revisions, 0) as revisions,
    %(now)s::timestamptz - %(settle)s::interval >= due.ends or due.has_ended as is_closed,
    coalesce(hl.slots_in(due.slots * exported.slots, due.step), 0) as exported
from due
left join hl.coverage on coverage.series_id = due.series_id and coverage.month = due.month
left join hl.exported_slots as exported on exported.series_id = due.series_id and exported.month = due.month
left join lateral (
    select
        count(*) as rows,
        encode(
            sha256(
                convert_to(
                    string_agg(
                        concat_ws(' ', hl.epoch_ms(open_time), open, high, low, close, volume, trades),
                        E'\n' order by open_time
                    ),
                    'UTF8'
                )
            ),
            'hex'
        ) as hash
    from hl.candle
    where
        candle.series_id = due.series_id
        and candle.open_time >= due.starts
        and candle.open_time < due.ends
        and candle.finality = 'f'
) as content on true
left join lateral (
    select count(*) as revisions
    from hl.candle_revision as revision
    where
        revision.series_id = due.series_id
        and revision.open_time >= due.starts
        and revision.open_time < due.ends
) as revised on true
order by due.coin, due.starts
