-- Makes the monthly partitions of a range-partitioned table that [starts, ends) needs; returns how many were new.
create or replace function hl.ensure_partitions(parent text, starts timestamptz, ends timestamptz)
returns integer
language plpgsql
security definer  -- who writes rows may make no tables
set search_path = pg_catalog, hl, pg_temp
set timezone = 'UTC'
as $$
declare
    month timestamptz;
    name text;
    made integer := 0;
begin
    if parent not in ('candle', 'market_context') then
        raise exception 'hl.% is not partitioned by month', parent;
    end if;
    perform pg_advisory_xact_lock(hashtext('hl.ensure_partitions'));
    for month in select generate_series(date_trunc('month', starts), ends - interval '1 microsecond', interval '1 month') loop
        name := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
        if to_regclass(format('hl.%I', name)) is null then
            execute format('create table hl.%I partition of hl.%I for values from (%L) to (%L)',
                           name, parent, month, month + interval '1 month');
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;
