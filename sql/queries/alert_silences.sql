-- Which silences are in force?
select silence_id, rule, labels, hl.epoch_ms(until), made_by, reason
from hl.alert_silence
where until > %(now)s
order by until, silence_id
