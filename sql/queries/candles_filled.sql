-- Which candles does one series hold in a span, oldest first, exactly as stored, filled as asked?
select
    hl.epoch_ms(open_time), open::text, high::text, low::text, close::text, volume::text, trades,
    finality, source, filled, why
from hl.candles_filled(%(coin)s, %(interval)s, %(starts)s, %(ends)s, %(fill)s)
order by open_time
