-- Stores a page of a market's funding rates; a time that is already stored keeps its first rate.
insert into hl.funding_rate (market_id, time, rate, premium, fetch_id)
select %(market_id)s, page.time, page.rate, page.premium, %(fetch_id)s
from unnest(%(times)s::timestamptz[], %(rates)s::text[]::numeric[], %(premiums)s::text[]::numeric[])
    as page (time, rate, premium)
order by page.time
on conflict (market_id, time) do nothing
