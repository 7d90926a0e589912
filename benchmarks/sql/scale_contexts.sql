-- What the exchange said of each market in the last day, every five minutes.
insert into hl.market_context (
    market_id, seen_at, mark_price, oracle_price, mid_price, previous_day_price, funding, premium, open_interest,
    day_notional_volume, day_base_volume, fetch_id
)
select
    series.market_id, seen_at, price, price, price, price, 0.0000125, 0.0003, 12345.67, 1000000.5 * series.market_id,
    4321.5, 1
from scale.series
cross join generate_series(%(edge)s::timestamptz - interval '1 day', %(edge)s, interval '5 minutes') as seen_at
cross join lateral (select 60000 * series.price_factor as price) as quoted
where series.minutes = 1
order by seen_at, series.market_id
