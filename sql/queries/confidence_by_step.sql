-- What were the mean and the lowest confidence of all tracked series at each of some instants?
-- Scores are kept when they move and once an hour, so the newest before an instant is the one that held; one older than
-- two hours tells nothing any more, and a series that is over is not looked at.
select
    hl.epoch_ms(instant) as at_ms,
    avg(held.score) as mean,
    min(held.score) as lowest
from generate_series(%(starts)s::timestamptz, %(ends)s::timestamptz, %(step)s::interval) as instant
join hl.series on series.ended_at is null or series.ended_at > instant
join hl.market on market.market_id = series.market_id and market.tracked
left join lateral (
    select confidence.score
    from hl.confidence
    where
        confidence.series_id = series.series_id
        and confidence.scored_at <= instant
        and confidence.scored_at > instant - interval '2 hours'
    order by confidence.scored_at desc
    limit 1
) as held on true
group by instant
order by instant
