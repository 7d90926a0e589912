-- Which other databases of this server may anybody connect to, or make temporary tables in?
select datname
from pg_database
where datallowconn and datname <> current_database()
    and (has_database_privilege('public', oid, 'connect') or has_database_privilege('public', oid, 'temporary'))
