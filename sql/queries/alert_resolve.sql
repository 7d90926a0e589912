-- Closes the open alert with this fingerprint; no row if none is open.
update hl.alert set resolved_at = %(now)s
where fingerprint = %(fingerprint)s and resolved_at is null
returning alert_id
