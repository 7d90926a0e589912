-- Which sessions of this database hold others up: idle in a transaction for a minute, or waiting for a lock for half one?
select
    pid,
    coalesce(nullif(application_name, ''), 'unnamed') as name,
    case when state like 'idle in transaction%%' then 'idle in a transaction' else 'waiting for a lock' end as trouble,
    extract(epoch from clock_timestamp() - coalesce(state_change, query_start))::double precision as seconds
from pg_stat_activity
where
    datname = current_database()
    and pid <> pg_backend_pid()
    and (
        (state like 'idle in transaction%%' and state_change < clock_timestamp() - %(idle)s::interval)
        or (wait_event_type = 'Lock' and query_start < clock_timestamp() - %(waiting)s::interval)
    )
order by seconds desc
