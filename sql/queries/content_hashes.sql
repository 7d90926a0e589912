-- What do the tables hold, as one number each? Equal content gives equal numbers: row order, series numbers and fetch
-- numbers do not count, so two databases that collected the same on different ways compare equal.
select 'candle' as relation, count(*) as rows, md5(coalesce(sum(hashtextextended(
    concat_ws('|', coin, interval, hl.epoch_ms(open_time), open, high, low, close, volume, trades, finality, source), 0
)), 0)::text) as content
from hl.candles
where finality <> 'open'
union all
select 'coverage', count(*), md5(coalesce(sum(hashtextextended(
    concat_ws('|', market.coin, series.interval, coverage.month, coverage.final, coverage.empty, coverage.lost), 0
)), 0)::text)
from hl.coverage
join hl.series using (series_id)
join hl.market using (market_id)
union all
select 'gap', count(*), md5(coalesce(sum(hashtextextended(
    concat_ws('|', market.coin, series.interval, gap.slots, gap.reason), 0
)), 0)::text)
from hl.gap
join hl.series using (series_id)
join hl.market using (market_id)
union all
select 'candle_revision', count(*), md5(coalesce(sum(hashtextextended(
    concat_ws(
        '|', market.coin, series.interval, hl.epoch_ms(open_time), open, high, low, close, volume, trades
    ), 0
)), 0)::text)
from hl.candle_revision
join hl.series using (series_id)
join hl.market using (market_id)
order by relation
