-- Dropping what has been exported, whole months at a time, and finding fetches that nothing refers to.

-- 64 bits of a row's text as a signed number; their sum over many rows does not depend on the order.
create or replace function hl.row_digest(row_text text)
returns bigint
language sql immutable strict parallel safe
return ('x' || left(md5(row_text), 16))::bit(64)::bigint;

-- How many rows does a month hold of these intervals, and what do they say as one number? One line an interval (quotes:
-- null).
-- storage/parquet_export.py computes the same from a file.
create or replace function hl.month_content(parent text, month timestamptz, intervals text[])
returns table ("interval" text, rows bigint, content numeric, oldest timestamptz)
language sql stable
set search_path = pg_catalog, hl, pg_temp
as $$
    select
        series.interval,
        count(*),
        sum(hl.row_digest(concat_ws(
            '|', market.coin, hl.epoch_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close,
            candle.volume, candle.trades, candle.finality, candle.source, candle.fetch_id
        ))),
        min(candle.open_time)
    from hl.candle
    join hl.series using (series_id)
    join hl.market using (market_id)
    where month_content.parent = 'candle'
        and series.interval = any(month_content.intervals)
        and candle.open_time >= month_content.month
        and candle.open_time < month_content.month + interval '1 month'
    group by series.interval
    union all
    select
        null,
        count(*),
        sum(hl.row_digest(concat_ws(
            '|', market.coin, hl.epoch_ms(quote.seen_at), quote.mark_price, coalesce(quote.oracle_price::text, ''),
            coalesce(quote.mid_price::text, ''), coalesce(quote.previous_day_price::text, ''),
            coalesce(quote.funding::text, ''), coalesce(quote.premium::text, ''),
            coalesce(quote.open_interest::text, ''), quote.day_notional_volume,
            coalesce(quote.day_base_volume::text, ''), quote.fetch_id
        ))),
        min(quote.seen_at)
    from hl.market_context as quote
    join hl.market using (market_id)
    where month_content.parent = 'market_context'
        and quote.seen_at >= month_content.month
        and quote.seen_at < month_content.month + interval '1 month'
    having count(*) > 0
$$;

-- Holds a month's writers off until the transaction ends; readers go on. False: there is no such partition.
create or replace function hl.hold_month(parent text, month timestamptz)
returns boolean
language plpgsql
security definer  -- a partition is its owner's to lock
set search_path = pg_catalog, hl, pg_temp
set timezone = 'UTC'
as $$
declare
    name text := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
begin
    if parent not in ('candle', 'market_context') then
        raise exception 'hl.% is not partitioned by month', parent;
    end if;
    if to_regclass(format('hl.%I', name)) is null then
        return false;
    end if;
    execute format('lock table hl.%I in share row exclusive mode', name);
    return true;
end
$$;

-- Drops the rows of a month that stand in the given files, if the rows are still those of the files; otherwise it
-- changes nothing and says why. Where nothing of the month stays the partition goes as a whole; where other intervals
-- stay it is emptied and what stays is put back, all in this transaction.
-- files: [{"interval": "1m" or null, "file", "rows", "bytes", "sha256" (hex), "content", "exported_ms"}, …]
create or replace function hl.drop_exported(parent text, month timestamptz, files jsonb, now timestamptz)
returns text
language plpgsql
security definer  -- who writes rows may drop no tables
set search_path = pg_catalog, hl, pg_temp
set timezone = 'UTC'
as $$
declare
    name text := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
    due text[] := array(select file ->> 'interval' from jsonb_array_elements(files) as file);
    changed text;
    rows_held bigint;
    staying bigint := 0;
begin
    if jsonb_array_length(files) = 0 then
        raise exception 'nothing was exported of %, so nothing is dropped', name;
    end if;
    if month <> date_trunc('month', month) then
        raise exception '% is not the first instant of a month', month;
    end if;
    if not hl.hold_month(parent, month) then
        return 'there is no such month any more';
    end if;

    select string_agg(
        format('%s: %s rows in the file, %s in the table', coalesce(file ->> 'interval', parent), file ->> 'rows',
               coalesce(held.rows, 0)), '; '
    )
    into changed
    from jsonb_array_elements(files) as file
    left join hl.month_content(parent, month, due) as held on held.interval is not distinct from file ->> 'interval'
    where held.rows is distinct from (file ->> 'rows')::bigint
        or held.content is distinct from (file ->> 'content')::numeric;
    if changed is not null then
        return 'the rows are not those of the file: ' || changed;
    end if;

    -- what stays, before anything is changed
    if parent = 'candle' then
        execute format(
            'create temp table retention_stays on commit drop as'
            ' select candle.* from hl.%I as candle join hl.series using (series_id)'
            ' where series.interval <> all($1)', name
        ) using due;
        select count(*) into staying from pg_temp.retention_stays;
    end if;
    execute format('select count(*) from hl.%I', name) into rows_held;
    if rows_held <> staying + (select sum((file ->> 'rows')::bigint) from jsonb_array_elements(files) as file) then
        return 'it holds rows of a series or market that is not known';
    end if;

    if parent = 'candle' then
        insert into hl.exported_slots as known (series_id, month, slots)
        select numbers.series_id, drop_exported.month::date, range_agg(numbers.slots)
        from (
            select run.series_id, tstzrange(min(run.open_time), max(run.open_time) + run.step) as slots
            from (
                select
                    series_id, candle.open_time, series.step,
                    candle.open_time - row_number() over (partition by series_id order by candle.open_time) * series.step
                        as island
                from hl.candle
                join hl.series using (series_id)
                where candle.open_time >= drop_exported.month
                    and candle.open_time < drop_exported.month + interval '1 month'
                    and candle.finality = 'f'
                    and series.interval = any(due)
            ) as run
            group by run.series_id, run.step, run.island
        ) as numbers
        group by numbers.series_id
        on conflict on constraint exported_slots_pkey do update set slots = known.slots + excluded.slots;
    end if;

    insert into hl.export_file as known (
        relation, interval, month, file, rows, bytes, sha256, content, exported_at, dropped_at
    )
    select
        parent, file ->> 'interval', drop_exported.month::date, file ->> 'file', (file ->> 'rows')::bigint,
        (file ->> 'bytes')::bigint, decode(file ->> 'sha256', 'hex'), (file ->> 'content')::numeric,
        timestamptz 'epoch' + (file ->> 'exported_ms')::bigint * interval '1 ms', drop_exported.now
    from jsonb_array_elements(files) as file
    on conflict (file) do update set dropped_at = excluded.dropped_at, restored_at = null;

    -- what these rows referred to is judged once more
    update hl.retention_progress
    set judged_until = least(
        judged_until, (select coalesce(max(fetch_id), 0) from hl.fetch where asked_at < drop_exported.month)
    )
    where kind = 'fetch';

    if staying > 0 then
        execute format('truncate hl.%I', name);
        execute format('insert into hl.%I select * from pg_temp.retention_stays order by series_id, open_time', name);
    else
        execute format('alter table hl.%I detach partition hl.%I', parent, name);
        execute format('drop table hl.%I', name);
    end if;
    if parent = 'candle' then
        drop table pg_temp.retention_stays;
    end if;
    return null;
end
$$;

-- The fetches after an id that are older than an instant, in their order, and whether anything refers to each.
-- A candle, quote or rate carries the number of its fetch without a foreign key, so it is looked for where the fetch can
-- have put it: in its own series' window, in larger candles of the same days, under the instant it was asked at; what
-- the stream brought stands only in candles that never became final.
create or replace function hl.judged_fetches(after_id bigint, before timestamptz, batch integer)
returns table (fetch_id bigint, asked_at timestamptz, bytes integer, is_referenced boolean)
language sql stable
set search_path = pg_catalog, hl, pg_temp
as $$
    with candidate as materialized (
        select asked.*, pg_column_size(asked.*) as bytes
        from hl.fetch as asked
        where asked.fetch_id > after_id and asked.asked_at < before and asked.status <> 'asked'
        order by asked.fetch_id
        limit batch
    ),

    era as materialized (
        select min(candidate.asked_at) as begins, max(candidate.asked_at) as ends from candidate
    ),

    streamed as materialized (
        select candle.fetch_id
        from hl.candle
        where candle.finality <> 'f'
            and candle.open_time >= (select begins from era) - interval '8 days'
            and candle.open_time <= (select ends from era) + interval '1 day'
    ),

    quoted as materialized (
        select distinct quote.fetch_id
        from hl.market_context as quote
        where quote.seen_at >= (select begins from era) and quote.seen_at <= (select ends from era)
    )

    select
        candidate.fetch_id,
        candidate.asked_at,
        candidate.bytes,
        exists (select from hl.candle_revision as made where made.replaced_by = candidate.fetch_id)
        or exists (select from hl.candle_revision as kept where kept.fetch_id = candidate.fetch_id)
        or exists (select from hl.fetch_failure as failure where failure.fetch_id = candidate.fetch_id)
        or exists (select from hl.dead_letter as letter where letter.fetch_id = candidate.fetch_id)
        or exists (
            select from hl.vanished_row as gone
            where gone.first_absent_fetch = candidate.fetch_id or gone.last_absent_fetch = candidate.fetch_id
        )
        or candidate.fetch_id in (select streamed.fetch_id from streamed)
        or candidate.fetch_id in (select quoted.fetch_id from quoted)
        or exists (
            select
            from hl.market
            join hl.funding_rate as paid using (market_id)
            where candidate.request_type not in ('candleSnapshot', 'candle stream', 'metaAndAssetCtxs')
                and market.coin = candidate.coin
                and paid.time >= candidate.window_start - interval '1 hour'
                and paid.time <= candidate.window_end + interval '1 hour'
                and paid.fetch_id = candidate.fetch_id
        )
        or exists (
            select
            from hl.market
            join hl.series using (market_id)
            join hl.candle using (series_id)
            where market.coin = candidate.coin
                and candle.open_time >= case series.interval
                    when candidate.interval then candidate.window_start - series.step
                    else date_bin('1 day', candidate.window_start, timestamptz '1970-01-01 00:00:00+00')
                end
                and candle.open_time <= candidate.window_end
                and candle.fetch_id = candidate.fetch_id
        )
    from candidate
    order by candidate.fetch_id
$$;
