-- May this session refresh the live edge of a series now? One session at a time; the lock ends with it, however it ends.
select pg_try_advisory_lock(hashtext('hl.refresh'), %(series_id)s)
