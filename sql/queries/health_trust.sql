-- How many tracked series have a confidence, and what is the mean of the newest?
select count(*), avg(newest.score)::float8
from hl.series
join hl.market using (market_id)
cross join lateral (
    select confidence.score
    from hl.confidence
    where confidence.series_id = series.series_id
    order by confidence.scored_at desc
    limit 1
) as newest
where market.tracked
