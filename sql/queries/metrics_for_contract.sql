-- The latest metrics as the contract suite reads them.
select coin, metric, value, confidence
from hl.latest
order by coin, metric
