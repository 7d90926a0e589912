-- Stores a batch of the stream's candles as open or provisional rows.
-- The newer trade count wins; a row that REST read after its close is never replaced, a final one even less.
with written as (
    insert into hl.candle as candle (
        series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select
        series_id, timestamptz 'epoch' + open_ms * interval '1 millisecond', open, high, low, close, volume, trades,
        %(fetch_id)s, 's', case when is_closed then 'p' else 'o' end::"char"
    from pg_temp.staging_stream
    where open_ms >= %(first_ms)s and open_ms <= %(last_ms)s
    order by series_id, open_ms
    on conflict (series_id, open_time) do update
    set
        open = case when excluded.trades >= candle.trades then excluded.open else candle.open end,
        high = case when excluded.trades >= candle.trades then excluded.high else candle.high end,
        low = case when excluded.trades >= candle.trades then excluded.low else candle.low end,
        close = case when excluded.trades >= candle.trades then excluded.close else candle.close end,
        volume = case when excluded.trades >= candle.trades then excluded.volume else candle.volume end,
        trades = greatest(excluded.trades, candle.trades),
        source = case when excluded.trades >= candle.trades then 's' else candle.source end,
        fetch_id = excluded.fetch_id,
        finality = excluded.finality
    where (candle.finality = 'o' and (excluded.finality = 'p' or excluded.trades > candle.trades))
        or (
            candle.finality = 'p' and candle.source = 's'
            and excluded.finality = 'p' and excluded.trades > candle.trades
        )
    returning finality
)

select count(*) as written, count(*) filter (where finality = 'p') as closed from written
