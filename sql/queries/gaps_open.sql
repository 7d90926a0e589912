-- Which slots are due and not settled, why, and until when can they still be had? Nearest deadline first.
select
    coin,
    interval,
    hl.epoch_ms(lower(slots)) as start_ms,
    hl.epoch_ms(upper(slots)) as end_ms,
    hl.slots_in(slots::tstzmultirange, step) as slots,
    reason,
    attempts,
    hl.epoch_ms(next_try) as next_try_ms,
    hl.epoch_ms(deadline) as deadline_ms,
    is_young,
    is_dead
from hl.open_gaps(%(now)s, %(settle)s, %(grace)s, %(window_slots)s)
where
    (%(coins)s::text[] is null or coin = any(%(coins)s::text[]))
    and (%(intervals)s::text[] is null or interval = any(%(intervals)s::text[]))
order by deadline, coin, step, slots
