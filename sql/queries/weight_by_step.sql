-- How much request weight did each lane spend, step by step, up to an instant of market time?
-- The newest requests are looked at, more than the exchange lets through in half a day.
with newest as materialized (
    select asked_at, lane, weight
    from (select asked_at, lane, weight from hl.fetch order by fetch_id desc limit 50000) as newest
    where asked_at >= %(starts)s::timestamptz and asked_at < %(ends)s::timestamptz and weight > 0
)

select
    floor(extract(epoch from asked_at - %(starts)s::timestamptz) / extract(epoch from %(step)s::interval))::integer as step,
    lane,
    sum(weight)::bigint as weight
from newest
group by step, lane
order by step, lane
