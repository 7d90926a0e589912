-- The larger candles that the template's minutes add up to, exactly.
insert into scale.template (template, minutes, day, at_minute, open, high, low, close, volume, trades)
select
    template,
    larger,
    day,
    at_minute / larger * larger,
    (array_agg(open order by at_minute))[1],
    max(high),
    min(low),
    (array_agg(close order by at_minute desc))[1],
    sum(volume),
    sum(trades)
from scale.template
cross join unnest(array[5, 15, 60, 240, 1440]) as larger
where minutes = 1
group by template, larger, day, at_minute / larger
