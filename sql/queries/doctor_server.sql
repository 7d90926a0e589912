-- Which version is the server, as whom are we there, how many connections does it take, how many of them are kept for
-- superusers, how many are in use, and how many of those are ours?
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::integer as version_number,
    current_user::text as role,
    current_setting('max_connections')::integer as most,
    current_setting('superuser_reserved_connections')::integer
    + coalesce(current_setting('reserved_connections', true)::integer, 0) as reserved,
    count(*) as used,
    count(*) filter (where usename = current_user or application_name like 'hl%' or application_name = 'dagster') as ours
from pg_stat_activity
where backend_type = 'client backend'
