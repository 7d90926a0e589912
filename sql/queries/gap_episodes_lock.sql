-- May this transaction follow the gaps, or is another at it?
select pg_try_advisory_xact_lock(hashtext('hl.gap_episode'))
