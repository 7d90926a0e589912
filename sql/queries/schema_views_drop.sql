-- Drops every view of the schema, so that the repeatable files may define them anew with other columns.
do $$
declare
    view record;
begin
    for view in
        select relname, relkind from pg_class
        where relnamespace = 'hl'::regnamespace and relkind in ('v', 'm')
        order by relname
    loop
        if to_regclass(format('hl.%I', view.relname)) is not null then
            execute format('drop %s hl.%I cascade',
                           case view.relkind when 'm' then 'materialized view' else 'view' end, view.relname);
        end if;
    end loop;
end
$$
