-- One series' candles in [starts, ends) as the store knew them at the instant known_at, oldest first.
-- A value counts as known from the arrival of the answer that brought it: asked_at (market time) + latency_ms. The
-- wait of a request for its weight or for a second attempt is not recorded, so an answer that was waited for can
-- count as known by that wait too early; the slots of a clean request are exact to the milliseconds of its landing.
-- * Before the first reading of a slot there is no row.
-- * A value that replaced a closed candle's is known from the answer that replaced it; the old one (hl.candle_revision)
--   is what is returned for the time before.
-- * Only closed candles leave revisions. What a candle showed while it was open is not kept: for that time a candle
--   that has closed since has no row. One that is open still is returned as its newest reading shows it, finality
--   'open', and has no row for the time before that reading.
-- * A candle that was read too early, and again with the same value once it had settled, is remembered as of the
--   second reading. If an earlier value of it is kept, then the value is returned as 'provisional' for the time
--   between; if none is, there is no row for the time before the second reading.
-- * What was exported to a file and dropped (hl.exported_slots) has no row, whenever it was known.
-- So it may say nothing where something was known, and but for the waits named above it never tells what was not.
create or replace function hl.candles_asof(
    coin text, "interval" text, starts timestamptz, ends timestamptz, known_at timestamptz
)
returns table (
    open_time timestamptz,
    open numeric,
    high numeric,
    low numeric,
    close numeric,
    volume numeric,
    trades integer,
    finality text,
    source text,
    known_since timestamptz
)
language sql stable
set search_path = pg_catalog, hl, pg_temp
as $$
    with wanted as (
        select series.series_id
        from hl.series
        join hl.market using (market_id)
        where market.coin = candles_asof.coin and series.interval = candles_asof.interval
    ),

    readings as (
        select
            candle.series_id, candle.open_time, candle.open, candle.high, candle.low, candle.close,
            candle.volume, candle.trades, candle.fetch_id, candle.source, candle.finality,
            null::bigint as replaced_by
        from hl.candle
        join wanted using (series_id)
        where candle.open_time >= starts and candle.open_time < ends
        union all
        select
            revision.series_id, revision.open_time, revision.open, revision.high, revision.low, revision.close,
            revision.volume, revision.trades, revision.fetch_id, revision.source, revision.finality,
            revision.replaced_by
        from hl.candle_revision as revision
        join wanted using (series_id)
        where revision.open_time >= starts and revision.open_time < ends
            -- without the present value, which may be in a file, the last one kept would pass for it
            and exists (
                select from hl.candle
                where candle.series_id = revision.series_id and candle.open_time = revision.open_time
            )
    ),

    -- a value came with the answer that replaced the one before it; fetch_id is the reading that last confirmed it
    chained as (
        select
            readings.*,
            coalesce(
                lag(readings.replaced_by) over (
                    partition by readings.open_time order by readings.replaced_by nulls last
                ),
                readings.fetch_id
            ) as came_with
        from readings
    ),

    known as (
        select distinct on (chained.open_time)
            chained.*,
            came.asked_at + coalesce(came.latency_ms, 0) * interval '1 millisecond' as since,
            confirmed.asked_at + coalesce(confirmed.latency_ms, 0) * interval '1 millisecond' as confirmed_at
        from chained
        join hl.fetch as came on came.fetch_id = chained.came_with
        join hl.fetch as confirmed on confirmed.fetch_id = chained.fetch_id
        where came.asked_at + coalesce(came.latency_ms, 0) * interval '1 millisecond' <= known_at
        order by chained.open_time, chained.replaced_by desc nulls first
    )

    select
        known.open_time, known.open, known.high, known.low, known.close, known.volume, known.trades,
        case
            when known.confirmed_at > known_at then 'provisional'
            when known.finality = 'f' then 'final'
            when known.finality = 'p' then 'provisional'
            else 'open'
        end,
        case known.source when 'r' then 'rest' when 's' then 'stream' when 'a' then 'archive' else 'derived' end,
        known.since
    from known
    order by known.open_time
$$;
