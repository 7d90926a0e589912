-- Which stretch of the template each series takes, and at which price.
insert into scale.series (series_id, market_id, minutes, step, template, shift, price_factor)
select
    series_id,
    market_id,
    (extract(epoch from step) / 60)::integer,
    step,
    (market_id % 10 = 0)::integer,
    market_id * 7 % 30,
    (array[1, 0.37, 0.0125, 0.0042, 2.5])[1 + market_id % 5]
from hl.series
