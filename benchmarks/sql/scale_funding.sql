-- Hourly funding rates up to the edge.
insert into hl.funding_rate (market_id, time, rate, premium, fetch_id)
select market_id, hour + interval '53 milliseconds', 0.0000125, 0.0003, 1
from generate_series(%(since)s::timestamptz, %(edge)s::timestamptz - interval '1 hour', interval '1 hour') as hour
cross join hl.market
order by hour, market_id
