-- Lets the next session refresh the series.
select pg_advisory_unlock(hashtext('hl.refresh'), %(series_id)s)
