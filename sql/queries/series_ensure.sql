-- Makes the series that tracked markets need; one that exists keeps its story.
insert into hl.series (market_id, interval, step, tracked_from, known_until)
select market.market_id, wanted.interval, wanted.step_ms * interval '1 millisecond', wanted.oldest, wanted.oldest
from hl.market
cross join unnest(%(intervals)s::text[], %(steps_ms)s::bigint[], %(oldest)s::timestamptz[])
    as wanted (interval, step_ms, oldest)
where market.tracked
on conflict (market_id, interval) do nothing
