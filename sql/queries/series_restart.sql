-- Series that were left alone and are expected again begin anew where the exchange still reaches.
-- Only those of which something has been forgotten meanwhile: what lies between is out of reach, neither lost nor a
-- gap. One that had ended whole, with its market delisted, begins anew where that was last seen to be delisted. The
-- candles and the coverage of before stay; the market's history says from when to when nothing is expected.
with returned as (
    select series.series_id, series.market_id, series.interval, series.known_until, anew.oldest
    from hl.series
    join hl.market using (market_id)
    join unnest(%(coins)s::text[], %(silent_until)s::timestamptz[]) as back (coin, silent_until) using (coin)
    join unnest(%(intervals)s::text[], %(oldest)s::timestamptz[]) as reach (interval, oldest) using (interval)
    cross join lateral (
        select
            greatest(
                reach.oldest,
                case
                    when not exists (select from hl.gap where gap.series_id = series.series_id)
                    then date_bin(series.step, back.silent_until, timestamptz '1970-01-01 00:00:00+00')
                end
            ) as oldest
    ) as anew
    where
        series.ended_at is null
        and series.tracked_from < anew.oldest
        and series.known_until > series.tracked_from
        and (
            series.known_until < anew.oldest
            or exists (
                select from hl.gap where gap.series_id = series.series_id and lower(gap.slots) < anew.oldest
            )
        )
),

begun as (
    update hl.series
    set
        tracked_from = returned.oldest,
        first_open = case when series.first_open >= returned.oldest then series.first_open end,
        known_until = greatest(series.known_until, returned.oldest)
    from returned
    where series.series_id = returned.series_id
),

noted as (
    insert into hl.market_history (market_id, changed_at, attribute, old_value, new_value)
    select
        returned.market_id, %(seen_at)s, 'out_of_reach_' || returned.interval,
        least(returned.known_until, min(lower(gap.slots)))::text, returned.oldest::text
    from returned
    left join hl.gap using (series_id)
    group by returned.series_id, returned.market_id, returned.interval, returned.known_until, returned.oldest
    on conflict do nothing
),

forgotten as (
    delete from hl.gap
    using returned
    where gap.series_id = returned.series_id and upper(gap.slots) <= returned.oldest
),

shortened as (
    update hl.gap
    set slots = gap.slots * tstzrange(returned.oldest, null)
    from returned
    where gap.series_id = returned.series_id and gap.slots @> returned.oldest and lower(gap.slots) < returned.oldest
)

select count(*) from returned
