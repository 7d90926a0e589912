-- How much of a key's weight is spent in the window that ends now, how much of it is still in flight,
-- how often was a request refused, and since when does none get through?
select
    budget.max_weight,
    coalesce(sum(spend.weight), 0)::integer as spent,
    coalesce(sum(spend.weight) filter (where not spend.settled), 0)::integer as in_flight,
    budget.refused_total,
    budget.refused_since
from hl.rate_limit as budget
left join hl.rate_limit_spend as spend
    on spend.key = budget.key
    and spend.at > coalesce(%(now)s, clock_timestamp()) - budget.window_length
where budget.key = %(key)s
group by budget.key;
