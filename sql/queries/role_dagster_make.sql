-- Is there a user of Dagster's own on this server? Made here if not; it gets its login and password afterwards.
do $$
begin
    if to_regrole('hl_dagster') is null then
        create role hl_dagster nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;  -- another process was quicker
end
$$
