-- What is proven of the slots that closed by %(until)s, as one number a relation? Numbers of series and fetches do not
-- count. A derived volume may differ from the exchange's own in the last digit of its float.
with closed as (
    select
        market.coin,
        series.series_id,
        series.interval,
        date_bin(series.step, %(until)s::timestamptz, 'epoch') as until
    from hl.series
    join hl.market using (market_id)
),

proven as (
    select coin, interval, relation, range_agg(slots * tstzmultirange(tstzrange(null, until))) as slots
    from closed
    join hl.coverage using (series_id)
    cross join lateral (
        values ('final', coverage.final), ('empty', coverage.empty), ('lost', coverage.lost)
    ) as part (relation, slots)
    group by coin, interval, relation
)

select 'candle' as relation, count(*) as rows, md5(coalesce(sum(hashtextextended(
    concat_ws(
        '|', coin, closed.interval, hl.epoch_ms(open_time), open, high, low, close,
        case closed.interval when '1m' then volume else round(volume, 6) end, trades, finality
    ), 0
)), 0)::text) as content
from hl.candles
join closed using (series_id, coin)
where finality = 'final' and open_time < closed.until
union all
select 'coverage', count(*), md5(coalesce(sum(hashtextextended(concat_ws('|', coin, interval, relation, slots), 0)), 0)::text)
from proven
order by relation
