-- One series' candles in [starts, ends), oldest first, on request with candles made up for slots without a row: flat at
-- the close before, volume 0, trades 0, filled = true. They are made while reading and stored nowhere.
-- fill: 'none'   only what is stored.
--       'empty'  also slots that are proven empty: nothing traded, so the price stood still. Only while every slot since
--                the last row is proven empty; behind a hole nobody knows where the price stood.
--       'all'    every slot without a row, the unknown ones too: it flatters. why says of each what it hides.
-- why: empty (proven), lost (the exchange forgot it before it was read), exported (its candle is in a file and not here
-- any more) or gap (not known yet); null for stored rows.
-- Nothing is made up before the first row, after the end of a delisted market, nor beyond the slots that the ledger
-- speaks of, so never for the future.
create or replace function hl.candles_filled(
    coin text, "interval" text, starts timestamptz, ends timestamptz, fill text default 'none'
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
    filled boolean,
    why text
)
language plpgsql stable
set search_path = pg_catalog, hl, pg_temp
as $$
#variable_conflict use_column
begin
    if candles_filled.fill is null or candles_filled.fill not in ('none', 'empty', 'all') then
        raise exception 'fill = % is no way to fill', coalesce(candles_filled.fill, 'null')
            using hint = 'take none, empty or all';
    end if;
    return query
    with wanted as (
        select
            series.series_id,
            series.step,
            least(
                candles_filled.ends - interval '1 microsecond',
                series.known_until - series.step,
                series.ended_at - series.step
            ) as last
        from hl.series
        join hl.market using (market_id)
        where market.coin = candles_filled.coin and series.interval = candles_filled.interval
    ),

    before as (
        select candle.*
        from wanted
        cross join lateral (
            select row.*
            from hl.candle as row
            where row.series_id = wanted.series_id and row.open_time < candles_filled.starts and row.finality <> 'o'
            order by row.open_time desc
            limit 1
        ) as candle
        where candles_filled.fill <> 'none'
    ),

    rows as (
        select candle.*
        from wanted
        join hl.candle using (series_id)
        where candle.open_time >= candles_filled.starts and candle.open_time < candles_filled.ends
        union all
        select before.* from before
    ),

    slots as (
        select rows.open_time from rows
        union
        select slot.open_time
        from wanted
        cross join lateral generate_series(
            date_bin(
                wanted.step, candles_filled.starts + wanted.step - interval '1 microsecond',
                timestamptz '1970-01-01 00:00:00+00'
            ),
            wanted.last,
            wanted.step
        ) as slot (open_time)
        where candles_filled.fill <> 'none'
    ),

    ledger as (
        select
            coalesce(range_agg(coverage.empty), '{}') as empty,
            coalesce(range_agg(coverage.lost), '{}') as lost,
            coalesce(range_agg(exported.slots) filter (where exported.slots is not null), '{}') as exported
        from wanted
        join hl.coverage using (series_id)
        left join hl.exported_slots as exported using (series_id, month)
        where
            coverage.month >= date_trunc('month', coalesce((select before.open_time from before), candles_filled.starts))
            and coverage.month < candles_filled.ends
    ),

    numbered as (
        select slots.open_time as slot, rows.*, count(rows.open_time) over (order by slots.open_time) as run
        from slots
        left join rows using (open_time)
    ),

    carried as (
        select
            numbered.*,
            first_value(numbered.open_time) over since_row as row_open,
            first_value(numbered.close) over since_row as row_close
        from numbered
        window since_row as (partition by numbered.run order by numbered.slot)
    ),

    told as (
        select
            carried.*,
            carried.open_time is null as is_made,
            ledger.empty @> tstzrange(carried.row_open + wanted.step, carried.slot + wanted.step) as is_still,
            case
                when carried.open_time is not null then null
                when ledger.empty @> carried.slot then 'empty'
                when ledger.lost @> carried.slot then 'lost'
                when ledger.exported @> carried.slot then 'exported'
                else 'gap'
            end as why
        from carried
        cross join wanted
        cross join ledger
        where carried.slot >= candles_filled.starts and carried.run > 0
    )

    select
        told.slot,
        coalesce(told.open, told.row_close),
        coalesce(told.high, told.row_close),
        coalesce(told.low, told.row_close),
        coalesce(told.close, told.row_close),
        coalesce(told.volume, 0),
        coalesce(told.trades, 0),
        case told.finality when 'f' then 'final' when 'p' then 'provisional' when 'o' then 'open' end,
        case told.source when 'r' then 'rest' when 's' then 'stream' when 'a' then 'archive' when 'd' then 'derived' end,
        told.is_made,
        told.why
    from told
    where not told.is_made or candles_filled.fill = 'all' or told.is_still
    order by told.slot;
end
$$;
