-- May this transaction refresh the latest metrics, or is another at it?
select pg_try_advisory_xact_lock(hashtext('hl.latest_metrics'))
