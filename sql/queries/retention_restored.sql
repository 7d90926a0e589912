-- When was each exported month that is back in its table loaded again?
select relation, interval, hl.epoch_ms(month::timestamp at time zone 'UTC') as month_ms, hl.epoch_ms(max(restored_at))
from hl.export_file
where restored_at is not null
group by relation, interval, month
