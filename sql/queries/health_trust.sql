-- How many series of tracked, listed markets have a confidence, and what is the mean of the newest? Of what is over
-- nothing new can be witnessed.
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
where market.tracked and not market.is_delisted and series.ended_at is null
