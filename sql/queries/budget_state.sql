-- How much of a key's weight is spent in the window that ends now, by which lane, how much of it is still in flight,
-- how often was a request refused, and since when does none get through?
select
    budget.max_weight,
    coalesce(sum(by_lane.spent), 0)::integer as spent,
    coalesce(sum(by_lane.in_flight), 0)::integer as in_flight,
    budget.refused_total,
    budget.refused_since,
    coalesce(jsonb_object_agg(by_lane.lane, by_lane.spent) filter (where by_lane.lane is not null), '{}') as lanes
from hl.rate_limit as budget
left join lateral (
    select spend.lane, sum(spend.weight) as spent, sum(spend.weight) filter (where not spend.settled) as in_flight
    from hl.rate_limit_spend as spend
    where spend.key = budget.key
        and spend.at > coalesce(%(now)s, clock_timestamp()) - budget.window_length
    group by spend.lane
) as by_lane on true
where budget.key = %(key)s
group by budget.key;
