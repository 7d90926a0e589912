-- Sets until when the holder means to work on these series' months; what another has claimed since is his.
-- What a landing or a claim has locked is left as it is: a later call, or the claimant, sets it.
with wanted as (
    select distinct work.series_id, month::date as month
    from unnest(%(series_ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        as work (series_id, starts, ends)
    cross join generate_series(date_trunc('month', starts), ends - interval '1 millisecond', interval '1 month') as month
),

mine as (
    select series_id, month
    from hl.lease
    join wanted using (series_id, month)
    where lease.lane = %(lane)s and lease.holder = %(holder)s
    order by series_id, month
    for no key update of lease skip locked
)

update hl.lease
set held_until = clock_timestamp() + %(length)s::interval
from mine
where lease.series_id = mine.series_id and lease.month = mine.month and lease.lane = %(lane)s
