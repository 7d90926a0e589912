-- Which candles of one series were known at an instant, oldest first, exactly as sent?
select hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades
from hl.candles_asof(%(coin)s, %(interval)s, %(starts)s, %(ends)s, %(known_at)s)
order by open_time
