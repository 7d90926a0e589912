-- Makes the holder the newest claimant of these series' months, and says how many others it takes over from.
with wanted as (
    select distinct work.series_id, month::date as month
    from unnest(%(series_ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        as work (series_id, starts, ends)
    cross join generate_series(date_trunc('month', starts), ends - interval '1 millisecond', interval '1 month') as month
),

claimed as (
    insert into hl.lease as lease (series_id, month, lane, holder, held_until)
    select series_id, month, %(lane)s, %(holder)s, clock_timestamp() + %(length)s::interval
    from wanted
    order by series_id, month
    on conflict (series_id, month, lane) do update
    set
        epoch = lease.epoch + 1,
        holder = excluded.holder,
        claimed_at = clock_timestamp(),
        held_until = excluded.held_until
    where lease.holder <> excluded.holder
    returning epoch
)

select count(*) from claimed where epoch > 1
