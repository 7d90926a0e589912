-- What does a month of quotes, or of candles of these intervals, hold: rows, one number, and the oldest?
select interval, rows, content, hl.epoch_ms(oldest)
from hl.month_content(%(relation)s, %(month)s, %(intervals)s::text[])
order by interval
