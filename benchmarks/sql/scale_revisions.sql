-- Five candles of each 1m series' last day were revised.
insert into hl.candle_revision (
    series_id, open_time, replaced_by, replaced_at, open, high, low, close, volume, trades, fetch_id, source, finality
)
select
    candle.series_id, candle.open_time, answer.fetch_id, %(edge)s, candle.open, candle.high, candle.low, candle.close,
    candle.volume + 1, candle.trades + 1, 1, 'r', 'f'
from scale.series
cross join (select max(fetch_id) as fetch_id from hl.fetch) as answer
join hl.candle on candle.series_id = series.series_id
where series.minutes = 1
    and candle.open_time = any(
        array(select %(edge)s::timestamptz - number * interval '97 minutes' from generate_series(1, 5) as number)
    )
    and candle.open_time >= %(edge)s::timestamptz - interval '1 day'
    and candle.open_time < %(edge)s
