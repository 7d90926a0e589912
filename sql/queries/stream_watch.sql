-- Lets the ledger speak up to %(ends)s of series that the stream watched without a break since %(since)s: their slots
-- are provisional, and are due at next_try, when REST confirms them. Returns how many series that concerns.
-- A 1m series is taken only if nothing is unknown before the watch began; REST fills that first. A larger one follows
-- its market's 1m series. Who lands an answer right now is left for the next time.
with offered as materialized (
    select *
    from unnest(%(series_ids)s::integer[], %(ends)s::timestamptz[], %(next_tries)s::timestamptz[])
        as offered (series_id, ends, next_try)
),

held as materialized (
    select
        series.series_id,
        series.interval,
        series.step,
        offered.ends,
        offered.next_try,
        greatest(series.known_until, coalesce(series.first_open, series.tracked_from)) as starts
    from hl.series
    join offered using (series_id)
    where series.ended_at is null
        and series.known_until > series.tracked_from
        and (
            (series.interval = '1m' and series.known_until >= %(since)s)
            or (
                series.interval <> '1m'
                and exists (
                    select from hl.series as base
                    where base.market_id = series.market_id
                        and base.interval = '1m'
                        and base.streamed_until >= offered.ends
                )
            )
        )
    order by series.series_id
    for update of series skip locked
),

fresh as materialized (select * from held where starts < ends),

extended as (
    update hl.gap
    set slots = tstzrange(lower(gap.slots), fresh.ends)
    from fresh
    where gap.series_id = fresh.series_id
        and upper(gap.slots) = fresh.starts
        and gap.reason = 'provisional'
        and gap.next_try = fresh.next_try
        and gap.attempts = 0
        and gap.first_absent_at is null
        and not gap.is_dead
    returning gap.series_id
),

added as (
    insert into hl.gap (series_id, slots, reason, attempts, first_absent_at, next_try, deadline, is_dead)
    select
        series_id, tstzrange(starts, ends), 'provisional', 0, null, next_try,
        starts + %(window_slots)s * step, false
    from fresh
    where not exists (select from extended where extended.series_id = fresh.series_id)
),

marked as (
    update hl.series
    set
        known_until = greatest(series.known_until, held.ends),
        streamed_until = case when held.interval = '1m' then greatest(series.streamed_until, held.ends) end
    from held
    where series.series_id = held.series_id
        and (held.interval = '1m' or held.starts < held.ends)
    returning series.series_id
)

select count(*) from marked
