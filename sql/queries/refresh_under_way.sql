-- Does any session refresh the live edge of a series at this moment?
select exists (
    select
    from pg_locks
    where
        locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())
        and classid = (hashtext('hl.refresh')::bigint & 4294967295)::oid
        and objid = %(series_id)s::oid
        and objsubid = 2
        and granted
)
