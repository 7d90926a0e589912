-- How much weight is spent in each key's window, and for how many seconds has no request got through? Tightest first.
select
    budget.max_weight,
    coalesce(sum(spend.weight), 0)::integer as spent,
    extract(epoch from coalesce(%(clock)s::timestamptz, clock_timestamp()) - budget.refused_since)::double precision
from hl.rate_limit as budget
left join hl.rate_limit_spend as spend
    on spend.key = budget.key
    and spend.at > coalesce(%(clock)s::timestamptz, clock_timestamp()) - budget.window_length
group by budget.key
order by coalesce(sum(spend.weight), 0)::double precision / budget.max_weight desc
limit 1
