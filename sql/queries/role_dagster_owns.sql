-- Does Dagster's own user own this database, and all that others made in it? He does afterwards.
do $$
declare
    thing record;
begin
    if (select datdba from pg_database where datname = current_database()) <> 'hl_dagster'::regrole then
        execute format('alter database %I owner to hl_dagster', current_database());
    end if;
    for thing in
        select relname as name,
            case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind
        from pg_class
        where relnamespace = to_regnamespace('public')
            and relkind in ('r', 'p', 'v', 'm')  -- sequences follow their tables
            and relowner <> 'hl_dagster'::regrole
    loop
        execute format('alter %s public.%I owner to hl_dagster', thing.kind, thing.name);
    end loop;
end
$$
