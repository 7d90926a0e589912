-- Which series does the stream watch? All of the tracked markets that have a 1m series, but for those that ended.
-- One without an answer yet is watched too: its first answer tells where it begins.
select series.series_id, market.coin, series.interval
from hl.series
join hl.market using (market_id)
where market.tracked
    and not market.is_delisted
    and series.ended_at is null
    and exists (
        select from hl.series as base where base.market_id = series.market_id and base.interval = '1m'
    )
order by series.series_id
