-- What do the 1m candles make of the larger slots that hold the minute before %(ends)s? Open ones, and closed ones as
-- provisional candles, which the confirmed minutes replace. A closed slot with a minute that nobody watched or read is
-- left out. Returns how many rows changed.
with base as materialized (
    select series_id, market_id, known_until
    from hl.series
    where series_id = any(%(series_ids)s::integer[]) and interval = '1m'
),

parent as materialized (
    select
        parent.series_id,
        parent.step,
        base.series_id as base_id,
        base.known_until,
        date_bin(parent.step, %(ends)s::timestamptz - interval '1 ms', timestamptz '1970-01-01 00:00:00+00') as open_time
    from hl.series as parent
    join base using (market_id)
    where parent.interval <> '1m' and parent.known_until > parent.tracked_from and parent.ended_at is null
),

rolled as materialized (
    select
        parent.series_id,
        parent.open_time,
        made.*,
        case when parent.open_time + parent.step <= %(ends)s then 'p' else 'o' end::"char" as finality
    from parent
    cross join lateral (
        select
            (array_agg(candle.open order by candle.trades = 0, candle.open_time))[1] as open,
            coalesce(max(candle.high) filter (where candle.trades > 0), max(candle.high)) as high,
            coalesce(min(candle.low) filter (where candle.trades > 0), min(candle.low)) as low,
            (array_agg(candle.close order by candle.trades = 0, candle.open_time desc))[1] as close,
            sum(candle.volume) as volume,
            sum(candle.trades)::integer as trades
        from hl.candle
        where candle.series_id = parent.base_id
            and candle.open_time >= parent.open_time
            and candle.open_time < least(parent.open_time + parent.step, %(ends)s)
    ) as made
    where made.open is not null
        and (
            parent.open_time + parent.step > %(ends)s
            or (
                parent.known_until >= parent.open_time + parent.step
                and not exists (
                    select from hl.gap
                    where gap.series_id = parent.base_id
                        and gap.slots && tstzrange(parent.open_time, parent.open_time + parent.step)
                        and gap.reason in ('unasked', 'failed', 'exchange_down', 'rejected')
                )
            )
        )
),

written as (
    insert into hl.candle as candle (
        series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select series_id, open_time, open, high, low, close, volume, trades, %(fetch_id)s, 'd', finality
    from rolled
    order by series_id, open_time
    on conflict (series_id, open_time) do update
    set
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades = excluded.trades,
        fetch_id = excluded.fetch_id, source = excluded.source, finality = excluded.finality
    where (candle.finality = 'o' or (candle.finality = 'p' and candle.source = 'd'))
        and (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades, candle.finality)
        is distinct from
        (
            excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.trades,
            excluded.finality
        )
    returning 1
)

select count(*) from written
