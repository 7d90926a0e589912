-- The gaps that stand open at the edge.
insert into hl.gap (series_id, slots, reason, attempts, first_absent_at, next_try, deadline)
select
    series.series_id,
    hole.slots,
    'absent',
    5,
    lower(hole.slots) + interval '5 minutes',
    %(edge)s::timestamptz + interval '20 minutes',
    lower(hole.slots) + interval '5000 minutes'
from scale.hole
join scale.series using (market_id)
where series.minutes = 1 and not hole.is_lost
