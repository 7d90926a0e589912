-- May this session read funding history now? One session at a time; the lock ends with it, however it ends.
select pg_try_advisory_lock(hashtext('hl.funding_history'))
