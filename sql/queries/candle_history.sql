-- What volumes has one candle shown, oldest first, the present one last?
select revision.volume::text, hl.epoch_ms(revision.replaced_at) as until_ms
from hl.candle_revision as revision
join hl.candles as candle using (series_id, open_time)
where candle.coin = %(coin)s and candle.interval = %(interval)s and candle.open_time = %(open_time)s
union all
select candle.volume::text, null
from hl.candles as candle
where candle.coin = %(coin)s and candle.interval = %(interval)s and candle.open_time = %(open_time)s
order by until_ms nulls last
