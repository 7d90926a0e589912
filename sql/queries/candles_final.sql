-- Which final candles does one series hold, oldest first, exactly as sent?
select hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades
from hl.candles
where coin = %(coin)s and interval = %(interval)s and finality = 'final'
order by open_time
