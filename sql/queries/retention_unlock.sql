-- Give the place of the one retention back.
select pg_advisory_unlock(hashtext('hl.retention'))
