-- Which alerts are open, the gravest and newest first?
select severity, rule, summary, next_step, times_seen, hl.epoch_ms(first_seen) as first_seen_ms, hl.epoch_ms(last_seen) as last_seen_ms
from hl.alert
where resolved_at is null
order by array_position(array['critical', 'error', 'warning', 'info'], severity), last_seen desc
