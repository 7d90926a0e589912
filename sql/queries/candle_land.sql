-- Stores an answer's rows: new ones are added, changed ones replaced and the replaced value kept as a revision.
-- An answer never replaces a row from one that was asked for later (higher fetch_id), and an unchanged row is left alone.
-- What REST read after a candle's close replaces the stream's row whenever it was asked for, and an open one does when
-- it counts at least as many trades.
-- A final row replaces a derived one whenever it was asked for; that is no revision unless it says something else, and
-- its volume may differ by 1e-9 relative: the venue's strings carry float noise.
with incoming as materialized (
    select
        timestamptz 'epoch' + open_ms * interval '1 millisecond' as open_time,
        open, high, low, close, volume, trades,
        case
            when open_ms + %(step_ms)s + %(settle_ms)s <= %(asked_ms)s then 'f'
            when open_ms + %(step_ms)s <= %(asked_ms)s then 'p'
            else 'o'
        end::"char" as finality
    from pg_temp.staging_candle
),

stored as materialized (
    select candle.*
    from incoming
    join hl.candle on candle.series_id = %(series_id)s and candle.open_time = incoming.open_time
    where candle.open_time >= %(first)s and candle.open_time <= %(last)s
),

revised as (
    insert into hl.candle_revision (
        series_id, open_time, replaced_by, replaced_at,
        open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select
        stored.series_id, stored.open_time, %(fetch_id)s, %(asked_at)s,
        stored.open, stored.high, stored.low, stored.close, stored.volume, stored.trades,
        stored.fetch_id, stored.source, stored.finality
    from stored
    join incoming using (open_time)
    where stored.finality <> 'o'
        and not (stored.source = 'd' and stored.finality = 'p') -- what unsettled minutes made was only a preview
        and (
            (stored.fetch_id < %(fetch_id)s and stored.source <> 's')
            or (stored.source = 'd' and incoming.finality = 'f')
            or (stored.source = 's' and (incoming.finality <> 'o' or incoming.trades >= stored.trades))
        )
        and (
            (stored.open, stored.high, stored.low, stored.close, stored.trades)
            is distinct from (incoming.open, incoming.high, incoming.low, incoming.close, incoming.trades)
            or abs(stored.volume - incoming.volume)
            > case when stored.source = 'd' then 1e-9 * greatest(stored.volume, incoming.volume) else 0 end
        )
    on conflict do nothing
    returning open_time
),

written as (
    insert into hl.candle as candle (
        series_id, open_time, open, high, low, close, volume, trades, fetch_id, source, finality
    )
    select %(series_id)s, open_time, open, high, low, close, volume, trades, %(fetch_id)s, 'r', finality
    from incoming
    order by open_time
    on conflict (series_id, open_time) do update
    set
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades = excluded.trades,
        fetch_id = excluded.fetch_id, source = excluded.source, finality = excluded.finality
    where (
            (candle.fetch_id < excluded.fetch_id and candle.source <> 's')
            or (candle.source = 'd' and excluded.finality = 'f')
            or (candle.source = 's' and (excluded.finality <> 'o' or excluded.trades >= candle.trades))
        )
        and (
            candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades, candle.finality,
            candle.source
        )
        is distinct from
        (
            excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.trades,
            excluded.finality, excluded.source
        )
    returning open_time
)

select
    (select count(*) from incoming) - (select count(*) from stored) as inserted,
    (select count(*) from written) - (select count(*) from incoming) + (select count(*) from stored) as updated,
    (select count(*) from revised) as revised
