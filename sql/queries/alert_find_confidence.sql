-- Which tracked series were last scored below a bound? The worst interval speaks for a market.
select distinct on (market.coin) market.coin, series.interval, newest.score, newest.weakest
from hl.series
join hl.market using (market_id)
cross join lateral (
    select confidence.score, confidence.weakest
    from hl.confidence
    where confidence.series_id = series.series_id and confidence.scored_at <= %(now)s
    order by confidence.scored_at desc
    limit 1
) as newest
where market.tracked and not market.is_delisted and series.ended_at is null and newest.score < %(threshold)s
order by market.coin, newest.score
