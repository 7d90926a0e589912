-- One day's candles of all series in the order in which live collection would have stored them: by when they closed.
-- Larger candles of the last half day are derived ones, those before were read since (once a day they are).
insert into hl.candle (
    series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
)
select
    series.series_id,
    slot.open_time,
    template.open * series.price_factor,
    template.high * series.price_factor,
    template.low * series.price_factor,
    template.close * series.price_factor,
    template.volume,
    template.trades,
    1000 + series.market_id,
    case when series.minutes > 1 and slot.open_time >= %(edge)s::timestamptz - interval '12 hours' then 'd' else 'r' end,
    case when slot.open_time + series.step <= %(edge)s then 'f' else 'o' end
from scale.series
join scale.template using (template, minutes)
cross join lateral (
    select %(day)s::timestamptz + template.at_minute * interval '1 minute' as open_time
) as slot
where template.day = (%(day_number)s + series.shift) %% 30
    and slot.open_time <= %(edge)s
    and slot.open_time + series.step > %(since)s
order by slot.open_time + series.step, series.series_id
