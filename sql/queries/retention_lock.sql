-- One retention at a time: is the place free? It is held until the session ends or gives it back.
select pg_try_advisory_lock(hashtext('hl.retention'))
