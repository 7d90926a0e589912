-- What are the newest numbers of every market?
select coin, metric, value, unit, hl.epoch_ms(as_of) as as_of_ms, source, confidence, grade
from hl.latest
order by coin, metric
