-- Who has the database's one place for an `hl up`: from where, and since when? Where it is hidden from us, nothing.
select coalesce(host(activity.client_addr), activity.client_hostname, 'this machine') as address, activity.backend_start
from pg_locks
join pg_stat_activity as activity using (pid)
where
    pg_locks.locktype = 'advisory'
    and pg_locks.granted
    and pg_locks.database = (select oid from pg_database where datname = current_database())
    and (pg_locks.classid::bigint << 32 | pg_locks.objid::bigint) = hashtextextended('hl.up', 0)
limit 1
