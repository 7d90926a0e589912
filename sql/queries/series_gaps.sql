-- Which slots of these series are expected and not settled, and why?
select
    series_id,
    hl.epoch_ms(lower(slots)) as start_ms,
    hl.epoch_ms(upper(slots)) as end_ms,
    reason,
    hl.epoch_ms(next_try) as next_try_ms,
    attempts,
    hl.epoch_ms(first_absent_at) as first_absent_ms,
    is_dead
from hl.gap
where series_id = any(%(series_ids)s::integer[])
order by series_id, slots
