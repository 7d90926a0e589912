-- What is missing of the 1m series: half an hour that nobody collected on the tenth, lost; and near the edge runs of
-- three minutes that the exchange has not published, one in a good market, fifteen in every tenth. Those of before are
-- lost by now.
with forgotten as (
    update scale.hole set is_lost = true where not is_lost
)

insert into scale.hole (market_id, slots, is_lost)
select market_id, tstzrange(starts, starts + interval '30 minutes'), true
from hl.market
cross join (
    select date_trunc('month', %(edge)s::timestamptz) + interval '9 days 3 hours' as starts
) as outage
union all
select market_id, tstzrange(starts, starts + interval '3 minutes'), false
from hl.market
cross join generate_series(0, case when market_id %% 10 = 0 then 14 else 0 end) as number
cross join lateral (
    select %(edge)s::timestamptz - interval '2 days' + (number * 60 + market_id %% 50) * interval '1 minute' as starts
) as unpublished
