-- What is the newest score of each tracked series?
select series.series_id, market.coin, series.interval, hl.epoch_ms(newest.scored_at), newest.score, newest.grade, newest.weakest, newest.reasons, newest.components
from hl.series
join hl.market using (market_id)
cross join lateral (
    select confidence.* from hl.confidence
    where confidence.series_id = series.series_id
    order by confidence.scored_at desc
    limit 1
) as newest
where market.tracked
order by series.series_id
