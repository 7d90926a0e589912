-- Lets the next session read funding history.
select pg_advisory_unlock(hashtext('hl.funding_history'))
