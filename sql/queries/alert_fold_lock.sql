-- One process at a time judges the rules, or makes notices of what is in the outbox.
select pg_advisory_xact_lock(hashtext('hl.alert_incident'))
